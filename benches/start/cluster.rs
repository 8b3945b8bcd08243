//! A cluster by the `kcl` command, in a home of its own.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kcl::artifacts::{Artifacts, NodeArtifacts, Want};
use kcl::state::Paths;

use crate::listener::Listener;
use crate::processes::{self, Idle};
use crate::subject::Subject;

/// How long something took, and its parts in order.
pub struct Timing {
    /// All of it.
    pub total: Duration,
    /// Name and share of each part.
    pub parts: Vec<(String, Duration)>,
}

/// A cluster to be measured. Deleted when dropped.
pub struct Cluster {
    name: String,
    nodes: usize,
    flags: Vec<String>,
    home: tempfile::TempDir,
    cache: PathBuf,
    listener: Listener,
}

/// The image that the pods run.
const IMAGE: &str = "kcl.local/busybox:1.35";

/// How long a cluster is left alone before it is called idle, and how long it is looked at then.
const SETTLE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_secs(20);

impl Cluster {
    /// Nothing is made yet. Its home lies beside the cache: node data wants a real file system, and hard links.
    pub fn new(name: &str, subject: &Subject, nodes: usize) -> Result<Self, Box<dyn Error>> {
        let cache = Paths::from_env()?.cache;
        std::fs::create_dir_all(&cache)?;
        let home = tempfile::Builder::new().prefix("bench-").tempdir_in(&cache)?;
        let cluster = Cluster {
            name: name.to_owned(),
            nodes,
            flags: subject.flags.clone(),
            home,
            cache,
            listener: Listener::bind()?,
        };
        let manifest =
            include_str!("app.yaml").replace("IMAGE", IMAGE).replace("HOST_PORT", &cluster.listener.port().to_string());
        std::fs::write(cluster.manifest(), manifest)?;
        Ok(cluster)
    }

    /// A directory for the measurement's own files.
    pub fn directory(&self) -> &Path {
        self.home.path()
    }

    /// Makes the artifacts, untimed.
    pub fn fetch(&self) -> Result<(), Box<dyn Error>> {
        self.kcl(&["artifacts", "fetch"])?;
        Ok(())
    }

    /// The artifacts that clusters are made of.
    pub fn artifacts(&self) -> Result<NodeArtifacts, Box<dyn Error>> {
        let artifacts = Artifacts::open(&self.cache, Default::default())?;
        let version = "stable";
        artifacts.cached(&Want::cluster(version)).ok_or_else(|| "the artifacts are not in the cache".into())
    }

    /// From the command to the last pod's answer.
    pub fn start(&self) -> Result<Timing, Box<dyn Error>> {
        self.listener.clear();
        let begun = Instant::now();
        let mut parts = self.kcl_events(&self.start_arguments())?;
        let returned = begun.elapsed();
        self.listener.wait_for(self.nodes, Duration::from_secs(300))?;
        let total = begun.elapsed();
        parts.push(("pods answer, after kcl returned".to_owned(), total - returned));
        Ok(Timing { total, parts })
    }

    /// A start of what runs already.
    pub fn start_again(&self) -> Result<Timing, Box<dyn Error>> {
        let begun = Instant::now();
        let parts = self.kcl_events(&self.start_arguments())?;
        Ok(Timing { total: begun.elapsed(), parts })
    }

    /// From the command to its end.
    pub fn stop(&self) -> Result<Timing, Box<dyn Error>> {
        self.timed(&["stop"])
    }

    /// From the command to its end.
    pub fn delete(&self) -> Result<Timing, Box<dyn Error>> {
        self.timed(&["delete"])
    }

    /// What the cluster takes when it has nothing to do.
    pub fn idle(&self) -> Result<Idle, Box<dyn Error>> {
        std::thread::sleep(SETTLE);
        Ok(processes::idle(&self.name, LOOK)?)
    }

    fn manifest(&self) -> PathBuf {
        self.home.path().join("app.yaml")
    }

    fn start_arguments(&self) -> Vec<String> {
        let nodes = self.nodes.to_string();
        let manifest = self.manifest().display().to_string();
        ["start", "--nodes", &nodes, "--nameservers", "none", "--manifest", &manifest, "-o", "json"]
            .into_iter()
            .map(str::to_owned)
            .chain(self.flags.iter().cloned())
            .collect()
    }

    fn timed(&self, arguments: &[&str]) -> Result<Timing, Box<dyn Error>> {
        let begun = Instant::now();
        self.kcl(arguments)?;
        Ok(Timing { total: begun.elapsed(), parts: Vec::new() })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
        command
            .args(["--profile", &self.name])
            .env("KCL_HOME", self.home.path())
            .env("KCL_CACHE", &self.cache)
            .env("KUBECONFIG", self.home.path().join("kubeconfig"));
        command
    }

    fn kcl(&self, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
        let status = self.command().args(arguments).status()?;
        if status.success() { Ok(()) } else { Err(format!("kcl {}: {status}", arguments.join(" ")).into()) }
    }

    /// Runs kcl and takes the time of each step from its JSON events.
    fn kcl_events(&self, arguments: &[String]) -> Result<Vec<(String, Duration)>, Box<dyn Error>> {
        let mut child = self.command().args(arguments).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe")?;
        let mut parts: Vec<(String, Duration)> = Vec::new();
        let mut current: Option<(String, Instant)> = None;
        for line in BufReader::new(stdout).lines() {
            let event: serde_json::Value = serde_json::from_str(&line?)?;
            let Some(name) = event["data"]["name"].as_str().filter(|_| event["type"] == STEP) else { continue };
            if current.as_ref().is_some_and(|(running, _)| running == name) {
                continue;
            }
            if let Some((done, begun)) = current.replace((name.to_owned(), Instant::now())) {
                parts.push((done, begun.elapsed()));
            }
        }
        if let Some((done, begun)) = current {
            parts.push((done, begun.elapsed()));
        }
        let status = child.wait()?;
        if status.success() { Ok(parts) } else { Err(format!("kcl {}: {status}", arguments.join(" ")).into()) }
    }
}

/// The type of the events that tell of steps.
const STEP: &str = "io.k8s.sigs.kcl.step";

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.kcl(&["delete"]) {
            eprintln!("{error}");
        }
    }
}
