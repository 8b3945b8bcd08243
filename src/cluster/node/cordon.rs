//! `node cordon` and `node uncordon`: a node gets no new pods, or gets them again.

use super::super::nodes;
use super::client_of;
use crate::app::App;
use crate::error::{Error, Id, Result};
use crate::kubernetes;
use crate::state::NodePhase;

/// Keeps new pods from a node, or lets them in again; a deletion of the node that has begun is given up then. Returns
/// false if nothing changes.
///
/// # Errors
/// `NotFound` if the cluster does not have the node; `State` if the node is emptied already to be deleted.
pub async fn cordon(app: &App, cluster: &str, node: &str, cordoned: bool) -> Result<bool> {
    let (_lock, mut state) = app.lock_existing(cluster).await?;
    let record = nodes::known(&state, node)?;
    let departure = record.phase.departure().cloned();
    let client = client_of(app, &state).await?;
    match departure {
        Some(departure) if !cordoned && departure.drained => {
            Err(Error::new(Id::NodeLeaving, format!("the node {node} is being deleted, and its pods are gone"))
                .hint(format!("finish it with: kcl node delete -p {cluster} {node}")))
        }
        Some(_) if !cordoned => {
            kubernetes::reinstate(&client, node, false).await?;
            state.set_node_phase(node, NodePhase::Member);
            app.store.save(&state)?;
            Ok(true)
        }
        _ => kubernetes::cordon(&client, node, cordoned).await,
    }
}
