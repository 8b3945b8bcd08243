//! `kcl delete`

use std::process::ExitCode;

use super::output::Output;
use crate::app::App;
use crate::cluster;
use crate::error::Result;

/// The options of `delete`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Delete every cluster of this user
    #[arg(long)]
    all: bool,

    /// The format of progress messages
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Deletes one cluster or all.
pub(super) async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    if args.all {
        if cluster::delete_all(app).await?.is_empty() {
            app.progress.info("There are no clusters");
        }
    } else if !cluster::delete(app, profile).await? {
        app.progress.info(format!("There is no cluster \"{profile}\""));
    }
    Ok(ExitCode::SUCCESS)
}
