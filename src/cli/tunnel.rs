//! `kcl tunnel`: lists services that other tools need a process in the foreground for.

use std::process::ExitCode;

use super::output::{self, Output};
use crate::app::App;
use crate::cluster;
use crate::error::Result;

/// The options of `tunnel`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The format of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Lists the Services of type LoadBalancer and their URLs for this host. Returns at once.
pub(super) async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    let mut rows = cluster::services(app, profile, None).await?;
    rows.retain(|row| row.r#type == "LoadBalancer");
    match args.output {
        Output::Json => output::json(&rows)?,
        Output::Text => {
            app.progress
                .info("No tunnel is needed: Services of type LoadBalancer have addresses that this host reaches");
            output::table(
                ["NAMESPACE", "NAME", "URL"],
                rows.into_iter().map(|row| [row.namespace, row.name, row.urls.join(" ")]),
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
