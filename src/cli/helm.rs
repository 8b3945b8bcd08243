//! `kcl helm`

use std::ffi::OsString;
use std::process::ExitCode;

use crate::app::App;
use crate::artifacts::{Artifacts, Options, Way};
use crate::cluster;
use crate::error::Result;

/// The verbs that need no cluster.
const LOCAL: [&str; 17] = [
    "completion",
    "create",
    "dependency",
    "env",
    "help",
    "lint",
    "package",
    "plugin",
    "pull",
    "push",
    "registry",
    "repo",
    "search",
    "show",
    "template",
    "verify",
    "version",
];

/// The options of `helm`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The arguments of Helm, after --
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

/// Replaces this process by Helm.
pub(super) async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    let client = cluster::kubectl(app, profile)?;
    cluster::needs_cluster(app, profile, &args.arguments, &LOCAL).await?;
    let artifacts = Artifacts::open(&app.store.paths().cache, Options::default())?;
    let helm = cluster::interruptible(artifacts.tool("helm", "helm", &Way::Auto, &app.progress)).await?;
    Err(cluster::become_client(&helm, &args.arguments, &client))
}
