//! `kcl drivers`

use std::process::ExitCode;

use super::output::{self, Output};
use crate::app::App;
use crate::cluster;
use crate::error::Result;

/// The options of `drivers`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The format of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Lists the drivers, and below the table what is missing with the command that fixes it.
pub(super) async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let rows = cluster::drivers(app).await;
    if args.output == Output::Json {
        output::json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::table(
        ["DRIVER", "WORKS", "ENGINE"],
        rows.iter().map(|row| {
            let works = match (row.works, row.default) {
                (true, true) => "yes, the default",
                (true, false) => "yes",
                (false, _) => "no",
            };
            [row.name.clone(), works.to_owned(), row.engine.clone().unwrap_or_else(|| "-".to_owned())]
        }),
    );
    for row in &rows {
        for finding in &row.findings {
            output::line(&format!("\n{}: {}", row.name, finding.message));
            if let Some(fix) = &finding.fix {
                output::line(&format!("  fix it with: {fix}"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
