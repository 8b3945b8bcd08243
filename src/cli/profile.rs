//! `kcl profile`

use std::process::ExitCode;

use serde_json::json;

use super::output::{self, Output};
use crate::app::App;
use crate::cluster;
use crate::error::Result;

/// The subcommands of `profile`.
#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List all clusters
    List {
        /// The format of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// Runs the subcommand.
pub(super) async fn run(app: &App, _profile: &str, verb: &Verb) -> Result<ExitCode> {
    let Verb::List { output } = verb;
    let profiles = cluster::profiles(app).await?;
    match output {
        Output::Json => {
            let (valid, invalid): (Vec<_>, Vec<_>) = profiles.into_iter().partition(|profile| profile.valid);
            output::json(&json!({"invalid": invalid, "valid": valid}))?;
        }
        Output::Text => output::table(
            ["NAME", "STATUS", "DRIVER", "KUBERNETES", "NODES", "SUBNET", "ENDS"],
            profiles.into_iter().map(|profile| {
                let nodes = profile.nodes.to_string();
                [
                    profile.name,
                    profile.status,
                    profile.driver,
                    profile.kubernetes_version,
                    nodes,
                    profile.subnet,
                    profile.ends,
                ]
            }),
        ),
    }
    Ok(ExitCode::SUCCESS)
}
