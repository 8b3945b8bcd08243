//! `kcl ca`

use std::process::ExitCode;

use super::output::line;
use crate::app::App;
use crate::cluster::{self, Trust};
use crate::error::Result;

/// The options of `ca`; without a subcommand it prints the certificate.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Make this system trust the CA until the cluster is deleted
    Trust,
    /// Make this system no longer trust the CA
    Untrust,
}

/// Prints, installs or removes the certificate.
pub(super) fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    match args.verb {
        None => line(cluster::ca(app, profile)?.trim_end()),
        Some(Verb::Trust) => {
            match cluster::trust(app, profile)? {
                Trust::Changed(file, command) => {
                    app.progress.info(format!("Wrote {} and ran {command}", file.display()))
                }
                Trust::Unchanged(file) => app.progress.info(format!("The CA is already trusted: {}", file.display())),
            }
            app.progress.info("Import it in browsers with a trust store of their own: kcl ca > ca.crt");
        }
        Some(Verb::Untrust) => match cluster::untrust(app, profile)? {
            Trust::Changed(file, command) => app.progress.info(format!("Removed {} and ran {command}", file.display())),
            Trust::Unchanged(file) => {
                app.progress.info(format!("The CA is not trusted: {} does not exist", file.display()))
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}
