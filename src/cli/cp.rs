//! `kcl cp`

use std::process::ExitCode;

use crate::app::App;
use crate::cluster::{self, CopyRequest, Place};
use crate::error::Result;

/// The options of `cp`.
#[derive(clap::Args)]
#[command(
    after_help = "Paths mean what they mean for docker cp: DIRECTORY/. is what is in a directory, and - a tar archive."
)]
pub(super) struct Args {
    /// Files or directories: PATH on this host, NODE:PATH in a node, :PATH in the first node, - for an archive from
    /// standard input
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<String>,

    /// The destination; a copy goes into it if it is a directory that exists; - for an archive to standard output
    target: String,

    /// Directories are always copied with all that is in them; this is accepted as by cp
    #[arg(short, short_alias = 'R', long)]
    recursive: bool,

    /// Copy what a source that is a link leads to
    #[arg(short = 'L', long)]
    follow_link: bool,
}

/// Copies files and directories.
pub(super) async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    let request = CopyRequest {
        from: args.sources.iter().map(|word| Place::parse(word)).collect(),
        to: Place::parse(&args.target),
        follow_link: args.follow_link,
    };
    cluster::copy(app, profile, &request).await?;
    Ok(ExitCode::SUCCESS)
}
