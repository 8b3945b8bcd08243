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

/// The duration of a step, and of its parts in order.
pub(crate) struct Timing {
    /// All of it.
    pub total: Duration,
    /// Name and share of each part.
    pub parts: Vec<(String, Duration)>,
}

/// A cluster to be measured. Deleted when dropped.
pub(crate) struct Cluster {
    name: String,
    nodes: usize,
    flags: Vec<String>,
    user: Option<PathBuf>,
    home: tempfile::TempDir,
    cache: PathBuf,
    /// Hears from its pods.
    pub listener: Listener,
}

/// The time limit of every step.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// The image that the pods run.
const IMAGE: &str = "kcl.local/busybox:1.37";

/// The name of the manifest that a start is given.
const MANIFEST: &str = "app.yaml";

/// The time before a cluster counts as idle, and the time that it is observed then.
const SETTLE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_secs(20);

impl Cluster {
    /// Nothing is made yet. Its home lies beside the cache: node data wants a real file system, and hard links.
    pub(crate) fn new(name: &str, subject: &Subject, nodes: usize) -> Result<Self, Box<dyn Error>> {
        let cache = Paths::from_env()?.cache;
        std::fs::create_dir_all(&cache)?;
        let home = tempfile::Builder::new().prefix("bench-").tempdir_in(&cache)?;
        let cluster = Cluster {
            name: name.to_owned(),
            nodes,
            flags: subject.flags(nodes),
            user: subject.user.clone(),
            home,
            cache,
            listener: Listener::bind()?,
        };
        cluster.write(MANIFEST, include_str!("app.yaml"))?;
        Ok(cluster)
    }

    /// Writes a manifest, with the image and the listener's port put in. Returns where it is.
    pub(crate) fn write(&self, name: &str, manifest: &str) -> Result<PathBuf, Box<dyn Error>> {
        let path = self.home.path().join(name);
        let port = self.listener.port().to_string();
        std::fs::write(&path, manifest.replace("IMAGE", IMAGE).replace("HOST_PORT", &port))?;
        Ok(path)
    }

    /// A directory for the measurement's own files.
    pub(crate) fn directory(&self) -> &Path {
        self.home.path()
    }

    /// Makes the artifacts, untimed.
    pub(crate) fn fetch(&self) -> Result<(), Box<dyn Error>> {
        self.kcl(&["artifacts", "fetch"])?;
        Ok(())
    }

    /// The artifacts that clusters are made of.
    pub(crate) fn artifacts(&self) -> Result<NodeArtifacts, Box<dyn Error>> {
        let artifacts = Artifacts::open(&self.cache, Default::default())?;
        let version = "stable";
        artifacts.cached(&Want::cluster(version)).ok_or_else(|| "the artifacts are not in the cache".into())
    }

    /// From the command to the last pod's answer.
    pub(crate) fn start(&self) -> Result<Timing, Box<dyn Error>> {
        self.listener.clear();
        let begun = Instant::now();
        let mut parts = self.kcl_events(&self.start_arguments())?;
        let returned = begun.elapsed();
        self.listener.wait_for(self.nodes, LIMIT)?;
        let total = begun.elapsed();
        parts.push(("pods answer, after kcl returned".to_owned(), total - returned));
        Ok(Timing { total, parts })
    }

    /// A start of what runs already.
    pub(crate) fn start_again(&self) -> Result<Timing, Box<dyn Error>> {
        let begun = Instant::now();
        let parts = self.kcl_events(&self.start_arguments())?;
        Ok(Timing { total: begun.elapsed(), parts })
    }

    /// From the command to a further node that is ready.
    pub(crate) fn grow(&self) -> Result<Timing, Box<dyn Error>> {
        let begun = Instant::now();
        let parts = self.kcl_events(&["node", "add", "-o", "json"].map(str::to_owned))?;
        Ok(Timing { total: begun.elapsed(), parts })
    }

    /// From the command to the end of the last node.
    pub(crate) fn shrink(&self) -> Result<Timing, Box<dyn Error>> {
        let node = kcl::config::node_name(&self.name, self.nodes);
        let begun = Instant::now();
        let parts = self.kcl_events(&["node", "delete", &node, "-o", "json"].map(str::to_owned))?;
        Ok(Timing { total: begun.elapsed(), parts })
    }

    /// From the command to its end.
    pub(crate) fn stop(&self) -> Result<Timing, Box<dyn Error>> {
        self.timed(&["stop"])
    }

    /// From the command to its end.
    pub(crate) fn delete(&self) -> Result<Timing, Box<dyn Error>> {
        self.timed(&["delete"])
    }

    /// Measures the resources of the idle cluster.
    pub(crate) fn idle(&self) -> Result<Idle, Box<dyn Error>> {
        std::thread::sleep(SETTLE);
        Ok(processes::idle(&self.name, LOOK)?)
    }

    /// Has a spare cluster of these flags ready.
    pub(crate) fn spare(&self) -> Result<(), Box<dyn Error>> {
        let status = self.unnamed().args(["pool", "fill"]).args(self.flags()).status()?;
        if status.success() { Ok(()) } else { Err(format!("kcl pool fill: {status}").into()) }
    }

    /// Waits for the spare that is made in the background in place of one that was taken.
    pub(crate) fn refilled(&self) -> Result<(), Box<dyn Error>> {
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            let list = self.unnamed().args(["pool", "list", "-o", "json"]).output()?;
            let list: serde_json::Value = serde_json::from_slice(&list.stdout)?;
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err("the spare was not replaced".into())
    }

    /// The flags of every `start` here.
    pub(crate) fn flags(&self) -> Vec<String> {
        let nodes = self.nodes.to_string();
        let own = ["--nodes", &nodes, "--nameservers", "none"].map(str::to_owned);
        own.into_iter().chain(self.flags.iter().cloned()).collect()
    }

    fn start_arguments(&self) -> Vec<String> {
        let manifest = self.home.path().join(MANIFEST).display().to_string();
        let own = ["start", "--manifest", &manifest, "-o", "json"].map(str::to_owned);
        own.into_iter().chain(self.flags()).collect()
    }

    /// From a command to its end.
    pub(crate) fn timed(&self, arguments: &[&str]) -> Result<Timing, Box<dyn Error>> {
        let begun = Instant::now();
        self.kcl(arguments)?;
        Ok(Timing { total: begun.elapsed(), parts: Vec::new() })
    }

    fn command(&self) -> Command {
        let mut command = self.unnamed();
        command.args(["--profile", &self.name]);
        command
    }

    /// kcl in this home.
    pub(crate) fn unnamed(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
        command
            .env("KCL_HOME", self.home.path())
            .env("KCL_CACHE", &self.cache)
            .env("KUBECONFIG", self.home.path().join("kubeconfig"))
            .envs(self.user.iter().map(|user| ("HOME", user)));
        command
    }

    /// Runs kcl for this cluster.
    pub(crate) fn kcl(&self, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
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
        if let Err(error) = self.kcl(&["delete", "--all"]) {
            eprintln!("{error}");
        }
    }
}
