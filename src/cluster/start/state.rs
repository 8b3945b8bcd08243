//! The state of a cluster in the course of a start.

use super::StartOptions;
use super::planned::planned;
use super::target::Target;
use crate::app::App;
use crate::artifacts::NodeArtifacts;
use crate::bootstrap::Machines;
use crate::cluster::background::guard;
use crate::error::Result;
use crate::plan::{Journal, Made};
use crate::state::{ClusterState, Phase};

/// Saves the state that the plan leads to, and starts the guard of a cluster with a lifetime.
pub(super) async fn begin(
    app: &App,
    options: &StartOptions,
    target: &Target,
    artifacts: &NodeArtifacts,
    journal: &Journal,
) -> Result<ClusterState> {
    journal.record(Made::State);
    target.addons.keep(app, &target.spec.name)?;
    let mut state = planned(&target.plan, target.spec.clone(), target.before.as_ref());
    for node in &mut state.nodes {
        node.artifacts.get_or_insert_with(|| artifacts.key.clone());
    }
    state.lifetime = options.lifetime.clone().unwrap_or(state.lifetime);
    state.spare = options.spare;
    save(app, &state)?;
    guard::follow(app, &state).await?;
    Ok(state)
}

/// Saves the state of a run that may be interrupted. The configuration of nodes may change from here on, so their digests
/// are left out until the run is through: the start after an interruption configures them again.
pub(super) fn save(app: &App, state: &ClusterState) -> Result<()> {
    let mut kept = state.clone();
    kept.nodes.iter_mut().for_each(|node| node.configured = None);
    app.store.save(&kept)
}

/// Saves and returns the state of a cluster that is whole, without the nodes that did not become a part of it.
pub(super) fn finish(
    app: &App,
    state: &ClusterState,
    machines: &Machines,
    artifacts: &NodeArtifacts,
    lost: &[String],
) -> Result<ClusterState> {
    let mut state = ClusterState { phase: Phase::Created, ..state.clone() };
    for name in lost {
        app.pki(&state.spec.name)?.forget_node(name)?;
    }
    state.nodes.retain(|node| !lost.contains(&node.name));
    state.spec.nodes.retain(|node| !lost.contains(&node.name));
    for node in &mut state.nodes {
        node.configured = machines.configured.get(&node.name).cloned();
        if machines.started.contains(&node.name) {
            node.artifacts = Some(artifacts.key.clone());
        }
    }
    app.store.save(&state)?;
    Ok(state)
}
