//! `kcl guard`: what a cluster that ends by itself has in the background. Not for users.

use std::process::ExitCode;

use crate::cluster::{self, App};
use crate::error::Result;

/// Waits and deletes.
pub async fn run(app: &App, profile: &str) -> Result<ExitCode> {
    cluster::guard(app, profile).await?;
    Ok(ExitCode::SUCCESS)
}
