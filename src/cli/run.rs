//! `kcl run`

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use super::start::ClusterArgs;
use crate::app::App;
use crate::cluster::{self, Context, RunOptions, StartOptions};
use crate::error::Result;

/// The options of `run`.
#[derive(clap::Args)]
#[command(after_help = "\
The command finds the cluster by KUBECONFIG; kubectl is on its PATH, your own first. The cluster
has a unique name, so many of these can run at the same time. It is deleted when the command ends,
and also when kcl is interrupted or killed. The exit code is the command's.

  kcl run -- pytest tests/
  kcl run --nodes 3 --addons ingress -- ./integration-test.sh")]
pub(super) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// If the command fails, keep the cluster for inspection
    #[arg(long, help_heading = "This run")]
    keep: bool,

    /// The archive for the logs of all nodes if the command fails (.tar.gz) [default: NAME-logs.tar.gz]
    #[arg(long, value_name = "FILE", help_heading = "This run")]
    logs: Option<PathBuf>,

    /// The command and its arguments, after --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command with a cluster.
pub(super) async fn run(app: &App, given: Option<String>, args: &Args) -> Result<ExitCode> {
    let start = StartOptions { context: Context::Absent, ..args.cluster.options(given) };
    let options = RunOptions { start, command: args.command.clone(), keep: args.keep, logs: args.logs.clone() };
    cluster::run(app, &options).await.map(ExitCode::from)
}
