//! `kcl ca`

use std::process::ExitCode;

use super::output::line;
use crate::app::App;
use crate::cluster::{self, Trust};
use crate::error::Result;

/// What to do with it; without a word it is printed.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Have this system trust it; deleting the cluster ends that
    Trust,
    /// Have this system no longer trust it
    Untrust,
}

/// Prints, installs or removes it.
pub fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    match args.verb {
        None => line(cluster::ca(app, profile)?.trim_end()),
        Some(Verb::Trust) => {
            match cluster::trust(app, profile)? {
                Trust::Changed(file, command) => {
                    app.progress.info(format!("Wrote {} and ran {command}", file.display()))
                }
                Trust::Unchanged(file) => app.progress.info(format!("It is trusted already: {}", file.display())),
            }
            app.progress.info("Browsers with a trust store of their own take it by their settings: kcl ca > ca.crt");
        }
        Some(Verb::Untrust) => match cluster::untrust(app, profile)? {
            Trust::Changed(file, command) => app.progress.info(format!("Removed {} and ran {command}", file.display())),
            Trust::Unchanged(file) => app.progress.info(format!("It is not trusted: {} is not there", file.display())),
        },
    }
    Ok(ExitCode::SUCCESS)
}
