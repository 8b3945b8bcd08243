//! `kcl drivers`

use std::process::ExitCode;

use super::output::{self, Output};
use crate::app::App;
use crate::cluster;
use crate::error::Result;

/// How drivers are shown.
#[derive(clap::Args)]
pub struct Args {
    /// How they are shown
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Shows them, and below the table all that is missing, with what mends it.
pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
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
                output::line(&format!("  mend it with: {fix}"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
