//! The way back of a start that failed or was interrupted.

use super::target::Target;
use crate::app::App;
use crate::cluster::background::guard;
use crate::cluster::delete;
use crate::error::{Error, Result};
use crate::plan::{Journal, Made};
use crate::state::{ClusterLock, ClusterState};

/// Removes what this run created and returns the error that the user sees: the first cause. An existing cluster is
/// remembered as it was before.
pub(super) async fn undo(app: &App, lock: ClusterLock, journal: &Journal, target: &Target, error: Error) -> Error {
    if !journal.has(&Made::State) {
        return error;
    }
    let cluster = &target.spec.name;
    app.progress.info("Removing what was created");
    let mut complaints = journal.undo(target.driver.as_ref(), cluster, error.unfinished).await;
    let error =
        if error.unfinished { error.hint(format!("or remove all of it with: kcl delete -p {cluster}")) } else { error };
    if complaints.is_empty() {
        complaints.extend(restore(app, lock, journal, target, error.unfinished).await.err().map(|error| error.message));
    }
    if complaints.is_empty() {
        return error;
    }
    let left = format!(
        "some of it could not be removed ({}); remove the rest with: kcl delete -p {cluster}",
        complaints.join("; ")
    );
    error.hint(left)
}

/// Restores the memory of an existing cluster, or forgets a new one.
async fn restore(app: &App, lock: ClusterLock, journal: &Journal, target: &Target, unfinished: bool) -> Result<()> {
    match &target.before {
        Some(before) => {
            let before = unconfigured(before.clone(), journal);
            app.store.save(&before)?;
            guard::follow(app, &before).await
        }
        // The next start resumes from the state that is on disk, and from what the driver keeps for the cluster.
        None if unfinished => Ok(()),
        None => delete::forget(app, lock).await,
    }
}

/// Drops the digests of nodes that this run may have configured, so that the next start configures them again.
fn unconfigured(mut state: ClusterState, journal: &Journal) -> ClusterState {
    for node in &mut state.nodes {
        if journal.has(&Made::Powered(node.machine.clone())) || journal.has(&Made::Machine(node.machine.clone())) {
            node.configured = None;
        }
    }
    state
}
