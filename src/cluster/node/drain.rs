//! `node drain`: a node is cordoned, and its pods are evicted.

use super::super::interrupt::interruptible;
use super::super::nodes;
use super::client_of;
use crate::app::App;
use crate::error::Result;
use crate::kubernetes::{self, Drain};

/// Cordons a node and evicts its pods but those of DaemonSets.
///
/// # Errors
/// `NotFound` if the cluster does not have the node; those of [`kubernetes::drain`]. The node stays cordoned then.
pub async fn drain(app: &App, cluster: &str, node: &str, how: &Drain) -> Result<()> {
    let (lock, state) = app.lock_existing(cluster).await?;
    nodes::known(&state, node)?;
    let client = client_of(app, &state).await?;
    interruptible(async {
        let step = app.progress.step("drain", format!("Draining {node}"));
        kubernetes::cordon(&client, node, true).await?;
        kubernetes::drain(&client, node, how).await?;
        step.finish(format!("{node} is cordoned and drained"));
        Ok(())
    })
    .await
    .map_err(|error| {
        error.hint(format!("{node} stays cordoned; let pods in again with: kcl node uncordon -p {cluster} {node}"))
    })?;
    drop(lock);
    Ok(())
}
