//! `kcl stop`

use std::process::ExitCode;

use super::output::Output;
use crate::app::App;
use crate::cluster;
use crate::error::Result;

/// The options of `stop`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The format of progress messages
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Stops the cluster.
pub(super) async fn run(app: &App, profile: &str) -> Result<ExitCode> {
    if !cluster::stop(app, profile).await? {
        app.progress.info(format!("\"{profile}\" is already stopped"));
    }
    Ok(ExitCode::SUCCESS)
}
