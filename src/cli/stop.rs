//! `kcl stop`

use std::process::ExitCode;

use super::output::Output;
use crate::app::App;
use crate::cluster;
use crate::error::Result;

/// How it is told.
#[derive(clap::Args)]
pub struct Args {
    /// How progress is told
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Stops.
pub async fn run(app: &App, profile: &str) -> Result<ExitCode> {
    if !cluster::stop(app, profile).await? {
        app.progress.info(format!("\"{profile}\" is stopped already"));
    }
    Ok(ExitCode::SUCCESS)
}
