//! `kcl version`

use std::process::ExitCode;

use serde_json::json;

use super::output::{self, Output};
use crate::artifacts::catalog::CATALOG;
use crate::artifacts::kubernetes::other_versions;
use crate::artifacts::sbom;
use crate::error::Result;

/// The options of `version`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The format of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    /// Print the software bill of materials instead: all that kcl is made of, downloads and builds (CycloneDX, JSON)
    #[arg(long, conflicts_with = "output")]
    sbom: bool,
}

/// Prints the versions.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    if args.sbom {
        output::json(&sbom::document()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let kcl = env!("CARGO_PKG_VERSION");
    let versions = CATALOG.kubernetes_versions()?;
    match args.output {
        Output::Json => output::json(&json!({"kcl": kcl, "kubernetes": versions}))?,
        Output::Text => {
            output::line(&format!("kcl {kcl}"));
            output::line(&format!("Kubernetes {}", versions.join(", ")));
            output::line(&format!("  and {}", other_versions()));
        }
    }
    Ok(ExitCode::SUCCESS)
}
