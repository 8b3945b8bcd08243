//! `kcl helm`

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use crate::artifacts::{Artifacts, Options, Way};
use crate::cluster::{self, App};
use crate::error::{Error, Family, Result};

/// What Helm is told.
#[derive(clap::Args)]
pub struct Args {
    /// Helm's own arguments, after a --
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

/// Becomes Helm, so that signals, the terminal and the exit code are its own.
pub async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    let client = cluster::kubectl(app, profile)?;
    let artifacts = Artifacts::open(&app.store.paths().cache, Options::default())?;
    let helm = cluster::interruptible(artifacts.tool("helm", &Way::Auto, &app.progress)).await?;
    let error = Command::new(&helm).args(&args.arguments).env("KUBECONFIG", &client.kubeconfig).exec();
    Err(Error::new(Family::Artifact, format!("{} does not run: {error}", helm.display()))
        .hint("make it anew after: kcl artifacts fetch --verify"))
}
