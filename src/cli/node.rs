//! `kcl node`

use std::process::ExitCode;

use super::output::{self, Output};
use crate::cluster::{self, App};
use crate::error::Result;

/// What is done with nodes.
#[derive(clap::Subcommand)]
pub enum Verb {
    /// List the nodes of a cluster
    List {
        /// How they are shown
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// Does it.
pub async fn run(app: &App, profile: &str, verb: &Verb) -> Result<ExitCode> {
    let Verb::List { output } = verb;
    let nodes = cluster::nodes(app, profile).await?;
    match output {
        Output::Json => output::json(&nodes)?,
        Output::Text => output::table(
            ["NAME", "ROLE", "DRIVER", "IP", "PODS", "STATUS"],
            nodes.into_iter().map(|node| [node.name, node.role, node.driver, node.address, node.pod_cidr, node.status]),
        ),
    }
    Ok(ExitCode::SUCCESS)
}
