//! `kcl pool`

use std::process::ExitCode;

use clap::Parser as _;
use serde_json::json;

use super::output::{self, Output};
use super::start::ClusterArgs;
use crate::app::App;
use crate::cluster;
use crate::error::Result;

/// What is done with spare clusters.
#[derive(clap::Subcommand)]
#[command(after_help = "\
A spare cluster runs, and nobody has used it. `kcl run` takes one that is as its own flags want it,
which saves the start, and has another one made in the background when it is done.")]
pub enum Verb {
    /// Make spare clusters until there are so many
    Fill(Box<FillArgs>),
    /// List the spare clusters
    List {
        /// How they are shown
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Delete the spare clusters; no more are made
    Drain,
    /// Make a spare cluster in the background
    #[command(hide = true)]
    Refill,
}

/// What spare clusters are to be.
#[derive(clap::Args)]
pub struct FillArgs {
    /// How many of this kind are to be ready
    #[arg(long, value_name = "COUNT", default_value_t = 1, help_heading = "Pool")]
    size: usize,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// The flags of a cluster alone.
#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Does it.
pub async fn run(app: &App, verb: &Verb) -> Result<ExitCode> {
    match verb {
        Verb::Fill(args) => {
            let made = cluster::fill(app, &args.cluster.options(None), args.size).await?;
            app.progress.info(format!("{made} made; {} spare", cluster::spares(app)?.len()));
        }
        Verb::List { output } => {
            let spares = cluster::spares(app)?;
            let rows = spares.iter().map(|state| (&state.spec.name, &state.spec.kubernetes_version, state.nodes.len()));
            match output {
                Output::Json => {
                    let row =
                        |(name, version, nodes)| json!({"Name": name, "KubernetesVersion": version, "Nodes": nodes});
                    output::json(&rows.map(row).collect::<Vec<_>>())?;
                }
                Output::Text => output::table(
                    ["NAME", "KUBERNETES", "NODES"],
                    rows.map(|(name, version, nodes)| [name.clone(), version.clone(), nodes.to_string()]),
                ),
            }
        }
        Verb::Drain => {
            let count = cluster::drain(app).await?;
            app.progress.info(format!("{count} spare deleted"));
        }
        Verb::Refill => {
            let flags = Flags::parse_from(["refill"]);
            cluster::refilled(app, &flags.cluster.options(None)).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
