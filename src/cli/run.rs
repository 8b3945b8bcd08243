//! `kcl run`

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use super::start::ClusterArgs;
use crate::app::App;
use crate::cluster::{self, Context, RunOptions, StartOptions};
use crate::error::Result;

/// Which command, with which cluster.
#[derive(clap::Args)]
#[command(after_help = "\
The command finds the cluster by KUBECONFIG; kubectl is on its PATH, the user's own first. The
cluster has a name of its own, so many of these may run at a time, and is deleted when the command
has ended, when kcl is interrupted, and also when kcl is killed. The exit code is the command's.

  kcl run -- pytest tests/
  kcl run --nodes 3 --addons ingress -- ./integration-test.sh")]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// When the command fails, keep the cluster for a look
    #[arg(long, help_heading = "This run")]
    keep: bool,

    /// Where the logs of all nodes go when the command fails (.tar.gz) [default: NAME-logs.tar.gz]
    #[arg(long, value_name = "FILE", help_heading = "This run")]
    logs: Option<PathBuf>,

    /// The command and its arguments, after a --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs it.
pub async fn run(app: &App, given: Option<String>, args: &Args) -> Result<ExitCode> {
    let start = StartOptions { context: Context::Absent, ..args.cluster.options(given) };
    let options = RunOptions { start, command: args.command.clone(), keep: args.keep, logs: args.logs.clone() };
    cluster::run(app, &options).await.map(ExitCode::from)
}
