//! `kcl update-context`

use std::process::ExitCode;

use crate::app::App;
use crate::cluster;
use crate::error::Result;
use crate::kubeconfig::Kubeconfig;

/// How.
#[derive(clap::Args)]
pub struct Args {
    /// Leave the current context as it is
    #[arg(long)]
    keep_context: bool,
}

/// Writes the cluster into the kubeconfig anew.
pub async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    let state = app.existing(profile)?;
    let access = app.access(&state)?;
    let merged = Kubeconfig::from_env()?.merge(&cluster::kubeconfig_entry(profile, &access), args.keep_context)?;
    app.progress.info(format!("\"{profile}\" is in {}", merged.display()));
    Ok(ExitCode::SUCCESS)
}
