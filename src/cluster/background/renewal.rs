//! Certificates that end soon: a kcl in the background renews them while the cluster runs.
//!
//! Certificates live for years, so most clusters have no such process: it is started once the next renewal is near, by the
//! verbs that work with a cluster.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::app::App;
use crate::bootstrap::certificates::next_renewal;
use crate::error::{Error, Id, Result};
use crate::state::ClusterState;

/// The time before a renewal from which on a process waits for it.
const AHEAD: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The longest time between two looks at the clock, which may be set and which goes on while the host sleeps.
const LOOK: Duration = Duration::from_secs(60);
/// The time between two attempts: a node may not be reachable.
const PAUSE: Duration = Duration::from_secs(30);
/// The time that a process has to write its note.
const GRACE: Duration = Duration::from_secs(5);

/// Ensures that a running cluster whose certificates are to be renewed soon has a process for it.
///
/// # Errors
/// The process cannot be started.
pub(crate) fn follow(app: &App, state: &ClusterState) -> Result<()> {
    let cluster = &state.spec.name;
    if next_renewal(&app.pki(cluster)?, state)?.is_none_or(|due| due > Timestamp::now() + AHEAD) {
        return Ok(());
    }
    super::start(app, &file(app, cluster), ["-p", cluster, "renewal"]).map_err(|error| {
        Error::new(
            Id::BackgroundFailed,
            format!("what is to renew the certificates of \"{cluster}\" cannot be started: {error}"),
        )
    })
}

/// Ends the process of a cluster, if there is one. It changes nothing then: the caller holds the cluster's lock.
pub(crate) async fn end(app: &App, cluster: &str) {
    let Some(note) = super::note::<()>(&file(app, cluster), GRACE).await else { return };
    let pid = note.process.pid;
    if !super::end(note).await {
        app.progress.warn(format!("process {pid}, which renews the certificates of \"{cluster}\", stays"));
    }
}

/// Renews certificates whenever they are due, until `renew` says that the cluster does not run, or it is gone.
///
/// # Errors
/// The process cannot write its note.
pub(crate) async fn stand(app: &App, cluster: &str, renew: impl AsyncFn() -> Result<bool>) -> Result<()> {
    super::say(()).map_err(|error| {
        Error::new(Id::Internal, format!("the process that renews certificates cannot say that it runs: {error}"))
    })?;
    while file(app, cluster).exists() {
        let due = app
            .store
            .load(cluster)
            .and_then(|state| state.map(|state| next_renewal(&app.pki(cluster)?, &state)).transpose());
        let left = match due {
            Ok(None | Some(None)) => return Ok(()),
            Ok(Some(Some(due))) => Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default(),
            Err(error) => {
                app.progress.trouble(&error);
                PAUSE
            }
        };
        if !left.is_zero() {
            tokio::time::sleep(left.min(LOOK)).await;
            continue;
        }
        match renew().await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => app.progress.trouble(&error),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

fn file(app: &App, cluster: &str) -> PathBuf {
    app.store.paths().cluster(cluster).join("renewal")
}
