//! `kcl mount`: directories of this host, mounted live in the nodes of a cluster.

use std::path::Path;

use futures::future::join_all;
use kcl_driver_api::{Driver, HostMount, Mounts};

use super::drivers;
use super::interrupt::interruptible;
use crate::app::App;
use crate::config::{self, ClusterSpec};
use crate::error::{Error, Id, Result};
use crate::state::ClusterState;

/// Returns the mounts of a cluster.
pub fn mounts(app: &App, cluster: &str) -> Result<Vec<HostMount>> {
    Ok(app.existing(cluster)?.spec.mounts)
}

/// Adds a mount, or replaces the one at the same path. Returns false if it already exists.
pub async fn mount(app: &App, cluster: &str, mount: HostMount) -> Result<bool> {
    change(app, cluster, |mounts| {
        mounts.retain(|other| other.target != mount.target);
        mounts.push(mount);
        Ok(())
    })
    .await
}

/// Removes the mount at `target` from the nodes.
pub async fn unmount(app: &App, cluster: &str, target: &Path) -> Result<bool> {
    change(app, cluster, |mounts| {
        let before = mounts.len();
        mounts.retain(|mount| mount.target != target);
        if mounts.len() < before {
            return Ok(());
        }
        let problem = format!("the nodes of cluster \"{cluster}\" have nothing of this host at {}", target.display());
        Err(Error::new(Id::MountNotFound, problem).hint(format!("see what they have: kcl mount -p {cluster}")))
    })
    .await
}

/// Changes the mounts, in all nodes and in the saved state. Returns true if they differ from before.
async fn change(app: &App, cluster: &str, edit: impl FnOnce(&mut Vec<HostMount>) -> Result<()>) -> Result<bool> {
    let (lock, mut state) = app.lock_existing(cluster).await?;
    let before = state.spec.mounts.clone();
    edit(&mut state.spec.mounts)?;
    if state.spec.mounts == before {
        return Ok(false);
    }
    config::check_mounts(&state.spec.mounts)?;
    let driver = drivers::driver_of(app, &state)?;
    able(driver.as_ref(), &state.spec, true).await?;
    interruptible(async {
        apply(driver.as_ref(), &state, &before).await?;
        app.store.save(&state)
    })
    .await?;
    drop(lock);
    Ok(true)
}

/// Applies the mounts of the state to all machines; if one refuses, rolls back to those of `before`.
pub(super) async fn apply(driver: &dyn Driver, state: &ClusterState, before: &[HostMount]) -> Result<()> {
    let set = async |mounts: &[HostMount]| {
        join_all(state.nodes.iter().map(|node| async move {
            let machine = driver.machine(&state.spec.name, &node.machine).await?;
            machine.set_mounts(mounts).await
        }))
        .await
        .into_iter()
        .collect::<kcl_driver_api::Result<Vec<()>>>()
    };
    let Err(error) = set(&state.spec.mounts).await else { return Ok(()) };
    if let Err(error) = set(before).await {
        tracing::warn!("the nodes of {} may differ in what they have mounted: {error}", state.spec.name);
    }
    Err(error.into())
}

/// Refuses mounts that the machines do not support: any at all, or, if the machines exist already, others than they
/// were created with.
pub(super) async fn able(driver: &dyn Driver, spec: &ClusterSpec, there: bool) -> Result<()> {
    for node in &spec.nodes {
        let able = driver.capabilities(&spec.name, &node.name).await?.mounts;
        let kind = spec.driver_of(node)?;
        let problem = match able {
            Mounts::Never if !spec.mounts.is_empty() => {
                format!(
                    "no directory of this host can be in the node {}: its driver is {kind}, on a machine apart",
                    node.name
                )
            }
            Mounts::AtCreation if there => {
                format!(
                    "what is mounted in the node {} cannot change: its driver is {kind}, which takes that once",
                    node.name
                )
            }
            _ => continue,
        };
        let error = Error::new(Id::MountInvalid, problem);
        return Err(match able {
            Mounts::AtCreation => error.hint(format!(
                "make the cluster with it: kcl delete -p {name}, which loses all that is in it, and kcl start -p {name} --mount HOST:NODE",
                name = spec.name
            )),
            _ => error.hint("copy files there instead with: kcl cp"),
        });
    }
    Ok(())
}
