//! `delete`: removes everything that belongs to a cluster, even if it was created or deleted only in part, or its state
//! is damaged.

use futures::future::join_all;
use kcl_driver_api::Driver;

use super::background::{dashboard, guard, loopback, renewal};
use super::interrupt::interruptible_on;
use super::{ca, drivers};
use crate::app::App;
use crate::config::ClusterSpec;
use crate::error::{Error, Id, Result};
use crate::kubeconfig::Kubeconfig;
use crate::plan::Plan;
use crate::state::{ClusterLock, ClusterState, Phase};

/// Deletes a cluster. Returns true if the cluster existed.
pub async fn delete(app: &App, cluster: &str) -> Result<bool> {
    delete_where(app, cluster, |_| true).await
}

/// Deletes a cluster, unless its state can be read and does not satisfy `wanted`. Returns true if the cluster existed.
pub(super) async fn delete_where(app: &App, cluster: &str, wanted: impl Fn(&ClusterState) -> bool) -> Result<bool> {
    let lock = app.lock(cluster).await?;
    let state = match app.store.load(cluster) {
        Ok(state) => state,
        Err(error) => {
            app.progress.warn(format!("{error}; what belongs to the cluster is found without it"));
            None
        }
    };
    if state.as_ref().is_some_and(|state| !wanted(state)) {
        return Ok(false);
    }
    dashboard::end(app, cluster).await;
    loopback::end(app, cluster).await;
    renewal::end(app, cluster).await;
    let driver = match &state {
        // A damaged cache is no reason to keep a cluster.
        Some(state) => {
            let artifacts = drivers::cached(app, &state.spec).unwrap_or_default();
            drivers::driver(&state.spec, app.store.paths(), artifacts.as_ref())?
        }
        None => {
            let artifacts = drivers::any_cached(app);
            drivers::any(&ClusterSpec::with_defaults(cluster), app.store.paths(), artifacts.as_ref()).await?
        }
    };
    let there = app.store.list()?.iter().any(|(name, _)| name == cluster);
    let there = there || !driver.list(Some(cluster)).await?.is_empty();
    if there {
        interruptible_on(cluster, async {
            let step = app.progress.step("delete", format!("Deleting \"{cluster}\""));
            if let Some(mut state) = state {
                // From here on the cluster can only be deleted, whichever kcl resumes the work.
                state.phase = Phase::Deleting;
                if let Err(error) = app.store.save(&state) {
                    // The deletion frees space on a full disk, so it continues.
                    app.progress.warn(error.to_string());
                }
            }
            remove(app, driver.as_ref(), cluster).await?;
            forget(app, lock).await?;
            step.finish(format!("\"{cluster}\" is deleted"));
            Ok(())
        })
        .await?;
    } else {
        forget(app, lock).await?;
    }
    dashboard::forget(app, cluster);
    Ok(there)
}

/// Deletes every cluster. Continues after a failure and returns the first one.
pub async fn delete_all(app: &App) -> Result<Vec<String>> {
    let mut deleted = Vec::new();
    let mut first: Option<Error> = None;
    for (name, _) in app.store.list()? {
        match delete(app, &name).await {
            Ok(_) => deleted.push(name),
            Err(error) if error.id == Id::Interrupted => return Err(error),
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(deleted), Err)
}

/// Deletes what an interrupted `delete` left of a cluster that is about to be created again.
pub(super) async fn leftovers(app: &App, driver: &dyn Driver, plan: &Plan, lock: &ClusterLock) -> Result<()> {
    if plan.new && app.store.paths().cluster(&plan.cluster).exists() {
        remove(app, driver, &plan.cluster).await?;
        clear(app, lock).await?;
    }
    Ok(())
}

/// Removes the files of a cluster of which nothing else is left, and releases its lock.
pub(super) async fn forget(app: &App, lock: ClusterLock) -> Result<()> {
    clear(app, &lock).await
}

/// Removes a cluster's files, and its CA from where it is trusted. Its guard ends last: if this kcl is killed before,
/// the guard finishes the deletion.
async fn clear(app: &App, lock: &ClusterLock) -> Result<()> {
    ca::forget(app, lock.cluster());
    guard::end(app, lock.cluster()).await;
    let others = app.store.remove(lock)?;
    if !others.is_empty() {
        let dir = app.store.paths().cluster(lock.cluster());
        app.progress.warn(format!("{} stays: kcl did not make {}", dir.display(), others.join(", ")));
    }
    Ok(())
}

/// Deletes machines, network and kubeconfig entries. The caller removes kcl's own record of them last.
pub(super) async fn remove(app: &App, driver: &dyn Driver, cluster: &str) -> Result<()> {
    let machines = driver.list(Some(cluster)).await?;
    let mut first: Option<Error> = None;
    for result in join_all(machines.iter().map(|machine| driver.delete(cluster, &machine.name))).await {
        first = first.or(result.err().map(Error::from));
    }
    if let Some(error) = first {
        return Err(error.hint(format!("the rest is removed by another: kcl delete -p {cluster}")));
    }
    driver.delete_network(cluster).await?;
    if let Err(error) = Kubeconfig::from_env().and_then(|kubeconfig| kubeconfig.remove(cluster)) {
        // A kubeconfig that kcl cannot read is no reason to keep a cluster.
        app.progress.warn(error.to_string());
    }
    Ok(())
}
