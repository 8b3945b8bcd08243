//! `kcl kubectl`

use std::ffi::OsString;
use std::process::ExitCode;

use crate::app::App;
use crate::cluster;
use crate::error::Result;

/// The verbs that need no cluster.
const LOCAL: [&str; 7] = ["completion", "config", "help", "kustomize", "options", "plugin", "version"];

/// The options of `kubectl`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The arguments of kubectl, after --
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

/// Replaces this process by kubectl.
pub(super) async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    let client = cluster::kubectl(app, profile)?;
    cluster::needs_cluster(app, profile, &args.arguments, &LOCAL).await?;
    Err(cluster::become_client(&client.program, &args.arguments, &client))
}
