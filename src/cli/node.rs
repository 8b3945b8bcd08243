//! `kcl node`

use std::process::ExitCode;

use super::candidates;
use super::output::{self, Output};
use crate::app::App;
use crate::cluster;
use crate::error::Result;

/// The subcommands of `node`.
#[derive(clap::Subcommand)]
pub enum Verb {
    /// List the nodes of a cluster
    List {
        /// The format of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Stop one node; `kcl start` starts it again
    Stop {
        /// The node
        #[arg(add = candidates::nodes())]
        name: String,

        /// Cut the power of the node instead of shutting it down
        #[arg(long)]
        now: bool,
    },
}

/// Runs the subcommand.
pub async fn run(app: &App, profile: &str, verb: &Verb) -> Result<ExitCode> {
    let output = match verb {
        Verb::List { output } => output,
        Verb::Stop { name, now } => {
            if !cluster::stop_node(app, profile, name, *now).await? {
                app.progress.info(format!("\"{name}\" was not running"));
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
