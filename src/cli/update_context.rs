//! `kcl update-context`

use std::process::ExitCode;

use crate::app::App;
use crate::cluster;
use crate::error::Result;

/// The options of `update-context`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Leave the current context unchanged
    #[arg(long)]
    keep_context: bool,
}

/// Writes the cluster to the kubeconfig again.
pub(super) async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    let state = app.existing(profile)?;
    let access = app.access(&state)?;
    let merged = cluster::point_kubectl(app, profile, &access, args.keep_context)?;
    app.progress.info(format!("\"{profile}\" is in {}", merged.display()));
    Ok(ExitCode::SUCCESS)
}
