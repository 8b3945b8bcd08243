//! `kcl cp`

use std::process::ExitCode;

use crate::app::App;
use crate::cluster::{self, Place};
use crate::error::Result;

/// From where, to where.
#[derive(clap::Args)]
pub struct Args {
    /// A file or directory: PATH here, NODE:PATH in a node, :PATH in the first
    source: String,

    /// Where it goes; into a directory that is there under its own name
    target: String,
}

/// Copies.
pub async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    cluster::copy(app, profile, &Place::parse(&args.source), &Place::parse(&args.target)).await?;
    Ok(ExitCode::SUCCESS)
}
