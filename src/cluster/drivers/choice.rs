//! Which driver a new cluster gets whose user names none, and what there is to choose from.

use kcl_driver_api::{DriverKind, Finding, Health, Severity};
use serde::Serialize;

use super::{KINDS, any_cached, one};
use crate::app::App;
use crate::config::ClusterSpec;
use crate::error::{Error, Family, Result};

/// Those that make machines of this computer, the best first. Hosts that exist already are for the user to name.
const CHOICE: [DriverKind; 3] = [DriverKind::Native, DriverKind::Docker, DriverKind::Qemu];

/// A row of `kcl drivers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DriverRow {
    /// Its name.
    pub name: String,
    /// Nothing stands in the way of a cluster.
    pub works: bool,
    /// The engine and its version, where it was found.
    pub engine: Option<String>,
    /// What is missing, and what is worth knowing.
    pub findings: Vec<Finding>,
    /// A start without `--driver` takes it.
    pub default: bool,
}

/// All drivers, with how they do here.
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

/// The best driver that works here; says which, and why not a better one.
pub async fn choose(app: &App) -> Result<DriverKind> {
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
    Err(Error::new(Family::Host, format!("no driver works here:{}", problems.concat()))
        .hint("see all that is missing, with the commands that mend it: kcl drivers")
        .hint("or name hosts that kcl reaches over SSH: kcl start --host user@address"))
}

/// How a driver does. That it cannot even look is a finding too.
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
