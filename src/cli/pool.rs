//! `kcl pool`

use std::process::ExitCode;

use clap::Parser as _;
use serde_json::json;

use super::output::{self, Output};
use super::start::ClusterArgs;
use crate::app::App;
use crate::cluster;
use crate::error::Result;

/// The subcommands of `pool`.
#[derive(clap::Subcommand)]
#[command(after_help = "\
A spare cluster runs, but is unused. `kcl run` takes one that matches its flags, which saves the start,
and creates another one in the background when it is done.")]
pub(super) enum Verb {
    /// Create spare clusters until the pool is full
    Fill(Box<FillArgs>),
    /// List the spare clusters
    List {
        /// The format of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Delete all spare clusters; no new ones are created
    Drain,
    /// Create a spare cluster in the background
    #[command(hide = true)]
    Refill,
}

/// The options of `pool fill`.
#[derive(clap::Args)]
pub(super) struct FillArgs {
    /// The number of spare clusters of this kind
    #[arg(long, value_name = "COUNT", default_value_t = 1, help_heading = "Pool")]
    size: usize,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// The flags of a cluster, for their defaults.
#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs the subcommand.
pub(super) async fn run(app: &App, verb: &Verb) -> Result<ExitCode> {
    match verb {
        Verb::Fill(args) => {
            let made = cluster::fill(app, &args.cluster.options(None), args.size).await?;
            app.progress.info(format!("Created {made} spare clusters; the pool has {}", cluster::spares(app)?.len()));
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
            app.progress.info(format!("Deleted {count} spare clusters"));
        }
        Verb::Refill => {
            let flags = Flags::parse_from(["refill"]);
            cluster::refilled(app, &flags.cluster.options(None)).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
