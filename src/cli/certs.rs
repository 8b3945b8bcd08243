//! `kcl certs`

use std::process::ExitCode;

use super::output::{self, Output};
use crate::app::App;
use crate::cluster;
use crate::error::Result;

/// The subcommands of `certs`.
#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List the certificates of a cluster, and when they end
    List {
        /// The format of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Issue new certificates with new keys, while the cluster runs
    #[command(
        after_help = "Nodes are not restarted, and neither are pods, etcd and the API server; sessions of `kubectl exec` and \
                        `logs -f` end. Copies of the kubeconfig elsewhere need the new one: after `--ca` they \
                        do not work any more. The CA of `kcl ca trust` stays."
    )]
    Rotate {
        /// Issue new CAs too, and trust the earlier ones no longer
        #[arg(long)]
        ca: bool,
    },
}

/// Runs the subcommand.
pub(super) async fn run(app: &App, profile: &str, verb: &Verb) -> Result<ExitCode> {
    match verb {
        Verb::Rotate { ca } => {
            let nodes = cluster::rotate(app, profile, *ca).await?;
            if nodes.is_empty() {
                app.progress.info("No node runs; nodes get their certificates when they are started");
            }
        }
        Verb::List { output } => {
            let rows = cluster::certificates(app, profile)?;
            match output {
                Output::Json => output::json(&rows)?,
                Output::Text => output::table(
                    ["NODE", "NAME", "SUBJECT", "ISSUER", "ENDS", "DAYS LEFT", "STATUS"],
                    rows.into_iter().map(|row| {
                        let days = row.days_left.to_string();
                        let node = if row.node.is_empty() { "-".to_owned() } else { row.node };
                        [node, row.name, row.subject, row.issuer, row.ends, days, row.status.to_owned()]
                    }),
                ),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
