//! The state of a cluster in the course of a start.

use super::StartOptions;
use super::planned::planned;
use super::target::Target;
use crate::app::App;
use crate::artifacts::NodeArtifacts;
use crate::bootstrap::Machines;
use crate::cluster::background::guard;
use crate::cluster::proxy;
use crate::error::Result;
use crate::plan::{Action, Journal, Made, Plan};
use crate::state::{ClusterState, Configured, NodePhase, Phase};

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
    state.proxy = proxy::for_nodes(app, &state)?;
    save(app, &target.with_leaving(state.clone()), Some(&target.plan))?;
    guard::follow(app, &state).await?;
    Ok(state)
}

/// Saves the state of a run that may be interrupted. The configuration of nodes may change from here on, so their digests
/// are left out until the run is through: the start after an interruption configures them again. Nodes that only keep
/// running keep that of their own part, so that they need not be restarted for it.
pub(super) fn save(app: &App, state: &ClusterState, plan: Option<&Plan>) -> Result<()> {
    let mut kept = state.clone();
    let keeps =
        |name: &str| plan.is_some_and(|plan| plan.nodes().any(|node| node.name == name && node.action == Action::Keep));
    for node in &mut kept.nodes {
        let kept = node.configured.take().filter(|_| keeps(&node.name));
        node.configured = kept.map(|configured| Configured { whole: String::new(), ..configured });
    }
    app.store.save(&kept)
}

/// Saves and returns the state of a cluster that is whole, without the nodes that did not become a part of it.
pub(super) fn finish(
    app: &App,
    state: &ClusterState,
    plan: &Plan,
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
        if node.phase == NodePhase::Joining && plan.is_for(&node.name) {
            node.phase = NodePhase::Member;
        }
        node.configured = machines.configured.get(&node.name).cloned();
        if machines.started.contains(&node.name) {
            node.artifacts = Some(artifacts.key.clone());
        }
    }
    app.store.save(&state)?;
    Ok(state)
}
