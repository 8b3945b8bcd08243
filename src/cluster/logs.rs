//! Logs of components: shown, or followed.

use kcl_driver_api::{Exec, Machine, Stdout};
use kcl_node_spec::paths;

use super::nodes::machine;
use crate::app::App;
use crate::error::{Error, Id, Result};

/// The components with a log of their own, other than the agent.
pub(super) const COMPONENTS: [&str; 8] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
    "kcl-policy",
];

/// The name of the agent's log: the output of the machine's first process on its console.
const AGENT: &str = "agent";

/// Returns the names of the logs that a node may have.
pub fn log_names() -> impl Iterator<Item = &'static str> {
    COMPONENTS.into_iter().chain([AGENT])
}

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
        Some(component) => Err(Error::new(Id::ComponentUnknown, format!("there is no component \"{component}\""))
            .hint(format!("components are: {}", log_names().collect::<Vec<_>>().join(", ")))),
    }
}

/// Shows one log. With `title` it is one of several: the title is shown first, and the log may be missing.
async fn show(machine: &dyn Machine, component: &str, request: &LogRequest, title: Option<fn(&str)>) -> Result<()> {
    let file = format!("{}/{component}.log", paths::LOGS);
    let exists = machine.exec(Exec::new(["test", "-e", &file])).await?;
    if exists.code != 0 {
        if title.is_none() {
            return Err(Error::new(Id::LogNotFound, format!("{component} has no log on {}", machine.name()))
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
    let output = machine.exec(Exec { stdout: Stdout::Inherit, ..Exec::new(argv) }).await?;
    // A reader who has seen enough closes the pipe (SIGPIPE).
    if output.code == 0 || output.code == 128 + nix::libc::SIGPIPE {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(Id::HostFailed, format!("the log of {component} cannot be shown: {}", said.trim())))
}
