//! The choice of a driver for a new cluster if the user names none, and the list of all drivers.

use kcl_driver_api::{DriverKind, Finding, Health, Severity};
use serde::Serialize;

use super::{KINDS, any_cached, one};
use crate::app::App;
use crate::config::ClusterSpec;
use crate::error::{Error, Id, Result};

/// The drivers that create machines on this computer, the best first. Hosts that exist already are for the user to
/// name.
const CHOICE: [DriverKind; 3] = [DriverKind::Native, DriverKind::Docker, DriverKind::Qemu];

/// A row of `kcl drivers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DriverRow {
    /// The name of the driver.
    pub name: String,
    /// The driver can create a cluster on this host.
    pub works: bool,
    /// The engine and its version, if it was found.
    pub engine: Option<String>,
    /// The missing requirements, and other notable facts.
    pub findings: Vec<Finding>,
    /// A start without `--driver` uses this driver.
    pub default: bool,
}

/// Returns all drivers with their health on this host.
pub async fn rows(app: &App) -> Vec<DriverRow> {
    let mut rows = Vec::new();
    for kind in KINDS {
        let health = health(app, kind).await;
        let default = CHOICE.contains(&kind) && health.works() && !rows.iter().any(|row: &DriverRow| row.default);
        rows.push(DriverRow {
            name: kind.name().to_owned(),
            works: health.works(),
            engine: health.engine,
            findings: health.findings,
            default,
        });
    }
    rows
}

/// Returns the best driver that works on this host; reports it, and why no better one works.
pub(crate) async fn choose(app: &App) -> Result<DriverKind> {
    let mut passed = Vec::new();
    for kind in CHOICE {
        let health = health(app, kind).await;
        if health.works() {
            let engine = health.engine.map(|engine| format!(" ({engine})")).unwrap_or_default();
            app.progress.info(format!("Driver: {kind}{engine}"));
            for (kind, problem) in passed {
                app.progress.info(format!("  not {kind}: {problem}"));
            }
            return Ok(kind);
        }
        let problem = health.findings.into_iter().find(|finding| finding.severity == Severity::Error);
        passed.push((kind, problem.map(|problem| problem.message).unwrap_or_default()));
    }
    let problems: Vec<String> = passed.iter().map(|(kind, problem)| format!("\n  - {kind}: {problem}")).collect();
    Err(Error::new(Id::DriverNone, format!("no driver works here:{}", problems.concat()))
        .hint("see all that is missing, with the commands that fix it: kcl drivers")
        .hint("or name hosts that kcl reaches over SSH: kcl start --host user@address"))
}

/// Returns the health of a driver. If the check itself fails, that is a finding too.
async fn health(app: &App, kind: DriverKind) -> Health {
    let spec = ClusterSpec::with_defaults(crate::config::DEFAULT_NAME);
    let artifacts = any_cached(app);
    let looked = async { Ok::<_, Error>(one(kind, &spec, app.store.paths(), artifacts.as_ref())?.health().await?) };
    looked.await.unwrap_or_else(|error| Health {
        engine: None,
        findings: vec![Finding {
            severity: Severity::Error,
            id: "engine",
            message: error.message,
            fix: error.hints.into_iter().next(),
        }],
    })
}
