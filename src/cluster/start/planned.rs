//! The state of a cluster that a plan leads to.

use jiff::Timestamp;

use crate::config::ClusterSpec;
use crate::plan::{Action, Plan};
use crate::state::{ClusterState, NodePhase, NodeRecord, Phase, SCHEMA};

/// Returns the state that a plan leads to.
pub(super) fn planned(plan: &Plan, spec: ClusterSpec, before: Option<&ClusterState>) -> ClusterState {
    let nodes = plan.nodes().map(|node| {
        let record = before.and_then(|state| state.node(&node.name));
        // A machine that is created has no configuration yet, one that is started mounts the newest artifacts.
        let configured = record.filter(|_| !matches!(node.action, Action::Create | Action::Replace));
        let artifacts = record.filter(|_| matches!(node.action, Action::Keep | Action::Restart | Action::Leave));
        let joins = before.is_some_and(|state| state.phase == Phase::Created);
        let new = if joins { NodePhase::Joining } else { NodePhase::Member };
        NodeRecord {
            name: node.name.clone(),
            machine: node.machine.clone(),
            role: node.role,
            address: node.address,
            pod_cidr: node.pod_cidr,
            kubernetes_version: node.kubernetes_version.clone(),
            artifacts: artifacts.and_then(|record| record.artifacts.clone()),
            configured: configured.and_then(|record| record.configured.clone()),
            phase: record.map_or(new, |record| record.phase.clone()),
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
        proxy: before.and_then(|state| state.proxy.clone()),
        spec,
    }
}
