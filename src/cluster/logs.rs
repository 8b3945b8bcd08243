//! Logs of components: shown, followed, or packed with everything else that a bug report needs.

use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use kcl_driver_api::{Exec, Machine, Stdout};
use kcl_node_spec::paths;

use super::drivers;
use super::kubectl::kubectl;
use super::nodes::machine;
use crate::app::App;
use crate::error::{Error, Family, Result};
use crate::state::ClusterState;

/// The components with a log of their own, other than the agent.
const COMPONENTS: [&str; 7] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet", "kube-proxy"];

/// The name of the agent's log: the output of the machine's first process on its console.
const AGENT: &str = "agent";

/// The queries to kubectl for a bug report, each with the file for the answer.
const QUESTIONS: [(&str, &[&str]); 4] = [
    ("nodes.txt", &["get", "nodes", "-o", "wide"]),
    ("pods.txt", &["get", "pods", "-A", "-o", "wide"]),
    ("events.txt", &["get", "events", "-A", "--sort-by=.lastTimestamp"]),
    ("describe-nodes.txt", &["describe", "nodes"]),
];

/// The selection of logs to show.
#[derive(Clone, Debug)]
pub struct LogRequest {
    /// The node; none: the first control plane.
    pub node: Option<String>,
    /// The component; none: all.
    pub component: Option<String>,
    /// New lines are shown as they come.
    pub follow: bool,
    /// The number of lines to show.
    pub tail: usize,
}

/// Shows logs: kcl's own lines through `line`, those of components directly on stdout.
pub async fn logs(app: &App, cluster: &str, request: &LogRequest, line: fn(&str)) -> Result<()> {
    let machine = machine(app, cluster, request.node.as_deref()).await?;
    match request.component.as_deref() {
        None => {
            for component in COMPONENTS {
                show(machine.as_ref(), component, request, Some(line)).await?;
            }
            Ok(())
        }
        Some(AGENT) => {
            let console = machine.console().await?;
            let text = String::from_utf8_lossy(&console);
            let lines: Vec<&str> = text.lines().collect();
            lines.iter().skip(lines.len().saturating_sub(request.tail)).for_each(|text| line(text));
            Ok(())
        }
        Some(component) if COMPONENTS.contains(&component) => show(machine.as_ref(), component, request, None).await,
        Some(component) => Err(Error::new(Family::Usage, format!("there is no component \"{component}\""))
            .hint(format!("components are: {}, {AGENT}", COMPONENTS.join(", ")))),
    }
}

/// Shows one log. With `title` it is one of several: the title is shown first, and the log may be missing.
async fn show(machine: &dyn Machine, component: &str, request: &LogRequest, title: Option<fn(&str)>) -> Result<()> {
    let file = format!("{}/{component}.log", paths::LOGS);
    let exists = machine.exec(Exec::new(["test", "-e", &file])).await?;
    if exists.code != 0 {
        if title.is_none() {
            return Err(Error::new(Family::NotFound, format!("{component} has no log on {}", machine.name()))
                .hint("control-plane components run on the first node only"));
        }
        return Ok(());
    }
    if let Some(title) = title {
        title(&format!("==> {component} on {}", machine.name()));
    }
    let lines = request.tail.to_string();
    let mut argv = vec!["tail", "-n", &lines];
    // Followed by name, as logs are rotated.
    argv.extend(request.follow.then_some("-F"));
    argv.push(&file);
    machine.exec(Exec { stdout: Stdout::Inherit, ..Exec::new(argv) }).await?;
    Ok(())
}

/// Packs everything for a bug report. If a part is unavailable, its place holds the error.
pub async fn archive(app: &App, cluster: &str, path: &Path) -> Result<()> {
    let state = app.existing(cluster)?;
    let step = app.progress.step("archive", format!("Packing \"{cluster}\""));
    let mut pack = Pack::new(cluster);
    pack.add("kcl-version.txt", env!("CARGO_PKG_VERSION").as_bytes());
    pack.add("state.json", &serde_json::to_vec_pretty(&state).unwrap_or_default());
    pack.add("host.txt", host().as_bytes());
    for node in &state.nodes {
        step.message(node.name.clone());
        node_logs(app, &state, &node.name, &mut pack).await;
    }
    step.message("events");
    ask(app, cluster, &mut pack).await;
    let content = pack.finish().map_err(|error| Error::new(Family::Internal, format!("packing failed: {error}")))?;
    kcl_files::write(path, &content, 0o600)
        .map_err(|error| Error::new(Family::Usage, format!("{} cannot be written: {error}", path.display())))?;
    step.finish(format!("\"{cluster}\" is packed"));
    Ok(())
}

/// Returns the facts about this host that matter for a bug report.
fn host() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_else(|error| format!("{path}: {error}\n"));
    [
        "/proc/version",
        "/etc/os-release",
        "/proc/self/cgroup",
        "/proc/meminfo",
        "/proc/sys/fs/inotify/max_user_instances",
    ]
    .map(|path| format!("# {path}\n{}", read(path)))
    .join("\n")
}

async fn node_logs(app: &App, state: &ClusterState, node: &str, pack: &mut Pack) {
    let machine = match drivers::driver_of(app, state) {
        Ok(driver) => driver.machine(&state.spec.name, node).await,
        Err(error) => return pack.add(&format!("{node}/error.txt"), error.message.as_bytes()),
    };
    let machine = match machine {
        Ok(machine) => machine,
        Err(error) => return pack.add(&format!("{node}/error.txt"), error.message.as_bytes()),
    };
    let part = |result: kcl_driver_api::Result<Vec<u8>>| result.unwrap_or_else(|error| error.message.into_bytes());
    pack.add(&format!("{node}/agent.log"), &part(machine.console().await));
    pack.add(&format!("{node}/node.json"), &part(machine.get(Path::new(paths::SPEC)).await));
    for component in COMPONENTS {
        for suffix in ["", ".1"] {
            let file = format!("{}/{component}.log{suffix}", paths::LOGS);
            if let Ok(content) = machine.get(Path::new(&file)).await {
                pack.add(&format!("{node}/{component}.log{suffix}"), &content);
            }
        }
    }
    let outputs: [(&str, &[&str]); 4] = [
        ("status.json", &[paths::AGENT, "status"]),
        ("processes.txt", &["ps", "auxww"]),
        ("network.txt", &["sh", "-c", "ip address; ip route; nft list ruleset"]),
        ("pods.tar", &["tar", "-C", "/var/log", "-chf", "-", "pods"]),
    ];
    for (file, argv) in outputs {
        let output = machine.exec(Exec::new(argv.iter().copied())).await.map(|output| output.stdout);
        pack.add(&format!("{node}/{file}"), &part(output));
    }
}

async fn ask(app: &App, cluster: &str, pack: &mut Pack) {
    for (file, arguments) in QUESTIONS {
        let answer = match kubectl(app, cluster) {
            Ok(client) => tokio::process::Command::new(&client.program)
                .args(["--request-timeout=5s"])
                .args(arguments)
                .env("KUBECONFIG", &client.kubeconfig)
                .output()
                .await
                .map(|output| [output.stdout, output.stderr].concat())
                .unwrap_or_else(|error| error.to_string().into_bytes()),
            Err(error) => error.message.into_bytes(),
        };
        pack.add(file, &answer);
    }
}

/// A tar file that is being written.
struct Pack {
    root: String,
    tar: tar::Builder<GzEncoder<Vec<u8>>>,
    failure: Option<std::io::Error>,
}

impl Pack {
    fn new(cluster: &str) -> Self {
        let tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        Pack { root: format!("kcl-{cluster}"), tar, failure: None }
    }

    fn add(&mut self, name: &str, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        let result = self.tar.append_data(&mut header, format!("{}/{name}", self.root), content);
        self.failure = self.failure.take().or(result.err());
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        match self.failure {
            Some(error) => Err(error),
            None => self.tar.into_inner()?.finish(),
        }
    }
}
