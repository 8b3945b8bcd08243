//! `kcl cp`

use std::process::ExitCode;

use crate::app::App;
use crate::cluster::{self, Place};
use crate::error::Result;

/// The options of `cp`.
#[derive(clap::Args)]
pub struct Args {
    /// A file or directory: PATH on this host, NODE:PATH in a node, :PATH in the first node
    source: String,

    /// The destination; if it is an existing directory, the copy goes into it
    target: String,
}

/// Copies files and directories.
pub async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    cluster::copy(app, profile, &Place::parse(&args.source), &Place::parse(&args.target)).await?;
    Ok(ExitCode::SUCCESS)
}
