//! `kcl node`

use std::process::ExitCode;

use super::output::{self, Output};
use crate::app::App;
use crate::cluster;
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
    /// Stop one node; `kcl start` starts it again
    Stop {
        /// The node
        name: String,

        /// As if its power were cut: nothing of it can end in order
        #[arg(long)]
        now: bool,
    },
}

/// Does it.
pub async fn run(app: &App, profile: &str, verb: &Verb) -> Result<ExitCode> {
    let output = match verb {
        Verb::List { output } => output,
        Verb::Stop { name, now } => {
            if !cluster::stop_node(app, profile, name, *now).await? {
                app.progress.info(format!("\"{name}\" did not run"));
            }
            return Ok(ExitCode::SUCCESS);
        }
    };
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
