//! The state of a cluster in the course of a start.

use jiff::Timestamp;

use super::StartOptions;
use super::target::Target;
use crate::app::App;
use crate::artifacts::NodeArtifacts;
use crate::bootstrap::Machines;
use crate::cluster::background::guard;
use crate::config::ClusterSpec;
use crate::error::Result;
use crate::plan::{Action, Journal, Made, Plan};
use crate::state::{ClusterState, NodeRecord, Phase, SCHEMA};

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

/// Returns the state that a plan leads to.
pub(super) fn planned(plan: &Plan, spec: ClusterSpec, before: Option<&ClusterState>) -> ClusterState {
    let nodes = plan.nodes().map(|node| {
        let record = before.and_then(|state| state.node(&node.name));
        // A machine that is created has no configuration yet, one that is started mounts the newest artifacts.
        let configured = record.filter(|_| matches!(node.action, Action::Keep | Action::Restart | Action::PowerOn));
        let artifacts = record.filter(|_| matches!(node.action, Action::Keep | Action::Restart));
        NodeRecord {
            name: node.name.clone(),
            machine: node.machine.clone(),
            role: node.role,
            address: node.address,
            pod_cidr: node.pod_cidr,
            kubernetes_version: node.kubernetes_version.clone(),
            artifacts: artifacts.and_then(|record| record.artifacts.clone()),
            configured: configured.and_then(|record| record.configured.clone()),
        }
    });
    ClusterState {
        schema: SCHEMA,
        subnet: plan.subnet,
        nodes: nodes.collect(),
        api: before.and_then(|state| state.api),
        phase: before.map_or(Phase::Creating, |state| state.phase),
        created: before.map_or_else(Timestamp::now, |state| state.created),
        lifetime: before.map(|state| state.lifetime.clone()).unwrap_or_default(),
        spare: false,
        spec,
    }
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
