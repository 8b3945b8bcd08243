//! The way back of a start that failed or was interrupted.

use super::target::Target;
use crate::app::App;
use crate::bootstrap;
use crate::cluster::background::guard;
use crate::cluster::delete;
use crate::error::{Error, Result};
use crate::kubernetes;
use crate::plan::{Journal, Made};
use crate::state::{ClusterLock, ClusterState};

/// Removes what this run created and returns the error that the user sees: the first cause. An existing cluster is
/// remembered as it was before, and its lock is returned.
pub(super) async fn undo(
    app: &App,
    lock: ClusterLock,
    journal: &Journal,
    target: &Target,
    error: Error,
) -> (Error, Option<ClusterLock>) {
    if !journal.has(&Made::State) {
        return (error, None);
    }
    let cluster = &target.spec.name;
    app.progress.info("Removing what was created");
    let mut complaints = journal.undo(target.driver.as_ref(), cluster, error.unfinished).await;
    let error =
        if error.unfinished { error.hint(format!("or remove all of it with: kcl delete -p {cluster}")) } else { error };
    let mut lock = Some(lock);
    if complaints.is_empty() {
        let restored = restore(app, &mut lock, journal, target, error.unfinished).await;
        complaints.extend(restored.err().map(|error| error.message));
    }
    if complaints.is_empty() {
        return (error, lock);
    }
    let left = format!(
        "some of it could not be removed ({}); remove the rest with: kcl delete -p {cluster}",
        complaints.join("; ")
    );
    (error.hint(left), lock)
}

/// Restores the memory of an existing cluster, or forgets a new one.
async fn restore(
    app: &App,
    lock: &mut Option<ClusterLock>,
    journal: &Journal,
    target: &Target,
    unfinished: bool,
) -> Result<()> {
    match &target.before {
        Some(before) => {
            let before = unconfigured(before.clone(), journal);
            app.store.save(&before)?;
            forget_nodes(app, &before, target).await;
            guard::follow(app, &before).await
        }
        // The next start resumes from the state that is on disk, and from what the driver keeps for the cluster.
        None if unfinished => Ok(()),
        None => match lock.take() {
            Some(lock) => delete::forget(app, lock).await,
            None => Ok(()),
        },
    }
}

/// Makes Kubernetes forget the nodes that this run created. If it does not answer, the next start does.
async fn forget_nodes(app: &App, before: &ClusterState, target: &Target) {
    let new = target.plan.nodes().map(|node| node.name.clone()).filter(|name| before.node(name).is_none());
    let new: Vec<String> = new.collect();
    let work = async {
        let pki = app.pki(&before.spec.name)?;
        new.iter().try_for_each(|name| pki.forget_node(name))?;
        let client = kubernetes::connect(&app.access(before)?)?;
        if kubernetes::serves(&client).await { bootstrap::forget_nodes(&client, &new).await } else { Ok(()) }
    };
    if !new.is_empty()
        && let Err(error) = work.await
    {
        app.progress.warn(error.to_string());
    }
}

/// Drops the digests of nodes that this run may have configured, so that the next start configures them again.
fn unconfigured(mut state: ClusterState, journal: &Journal) -> ClusterState {
    for node in &mut state.nodes {
        let made = [Made::Powered, Made::Restarted, Made::Machine];
        if made.iter().any(|made| journal.has(&made(node.machine.clone()))) {
            node.configured = None;
        }
        // It may have heard of nodes that are gone again.
        if let Some(configured) = &mut node.configured {
            configured.whole.clear();
        }
    }
    state
}
