//! `kcl logs`

use std::path::PathBuf;
use std::process::ExitCode;

use super::{candidates, output};
use crate::app::App;
use crate::cluster::{self, LogRequest};
use crate::error::Result;

/// The options of `logs`.
#[derive(clap::Args)]
#[command(after_help = "For logs of pods use kubectl: kcl kubectl -- logs POD")]
pub(super) struct Args {
    /// A component: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, containerd, kubelet, kube-proxy,
    /// kcl-policy, or agent for the node agent itself [default: all, the last lines of each]
    #[arg(value_name = "COMPONENT", add = candidates::components())]
    component: Option<String>,

    /// The node [default: the first control plane]
    #[arg(short, long, value_name = "NAME", add = candidates::nodes())]
    node: Option<String>,

    /// Print new lines as they are written
    #[arg(short, long, requires = "component")]
    follow: bool,

    /// The number of lines
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    tail: usize,

    /// Pack all logs, states and events of all nodes into this file (.tar.gz) for a bug report, without keys
    #[arg(long, value_name = "FILE", conflicts_with_all = ["component", "node", "follow"])]
    archive: Option<PathBuf>,
}

/// Prints or packs the logs.
pub(super) async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    if let Some(path) = &args.archive {
        cluster::archive(app, profile, path).await?;
        app.progress.info(format!("The logs are in {}", path.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let request =
        LogRequest { node: args.node.clone(), component: args.component.clone(), follow: args.follow, tail: args.tail };
    cluster::logs(app, profile, &request, output::line).await?;
    Ok(ExitCode::SUCCESS)
}
