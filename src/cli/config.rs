//! `kcl config`

use std::process::ExitCode;

use super::output::{self, Output};
use crate::app::App;
use crate::config::{Overrides, Source};
use crate::error::Result;

/// The subcommands of `config`.
#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Print the settings of a cluster, or the defaults if it does not exist, as a cluster file
    View {
        /// Print the cluster that this file describes
        #[arg(long, value_name = "FILE")]
        config: Option<std::path::PathBuf>,

        /// The format of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// Runs the subcommand.
pub(super) fn run(app: &App, profile: Option<String>, verb: &Verb) -> Result<ExitCode> {
    let Verb::View { config, output } = verb;
    // The file may name the cluster too.
    let overrides = Overrides { profile, config: config.clone(), ..Overrides::default() };
    let source = Source::read(&overrides)?;
    let existing = app.store.load(source.profile_name())?.map(|state| state.spec);
    let spec = source.resolve(existing.as_ref())?;
    match output {
        Output::Json => output::json(&spec)?,
        Output::Text => output::line(spec.to_toml()?.trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}
