//! The state of a cluster that a plan leads to.

use jiff::Timestamp;
use kcl_node_spec::Role;

use crate::config::ClusterSpec;
use crate::plan::{Action, Plan};
use crate::state::{ClusterState, NodePhase, NodeRecord, Phase, SCHEMA};

/// Returns the state that a plan leads to.
pub(super) fn planned(plan: &Plan, spec: ClusterSpec, before: Option<&ClusterState>) -> ClusterState {
    let nodes = plan.nodes().map(|node| {
        let record = before.and_then(|state| state.node(&node.name));
        // A machine that is created has no configuration yet, one that is started mounts the newest artifacts.
        let is_new = matches!(node.action, Action::Create | Action::Replace);
        let configured = record.filter(|_| !is_new);
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
            phase: match record {
                // The member of etcd that was lost with its machine does not come back: a new one joins.
                Some(_) if joins && is_new && node.role == Role::ControlPlane => NodePhase::Joining,
                Some(record) => record.phase.clone(),
                None => new,
            },
        }
    });
    let mut nodes: Vec<NodeRecord> = nodes.collect();
    // In the user's order, whichever comes up first.
    nodes.sort_by_key(|record| spec.nodes.iter().position(|node| node.name == record.name));
    ClusterState {
        schema: SCHEMA,
        subnet: plan.subnet,
        nodes,
        api: before.and_then(|state| state.api),
        api_address: plan.api_address,
        phase: before.map_or(Phase::Creating, |state| state.phase),
        created: before.map_or_else(Timestamp::now, |state| state.created),
        lifetime: before.map(|state| state.lifetime.clone()).unwrap_or_default(),
        spare: false,
        proxy: before.and_then(|state| state.proxy.clone()),
        spec,
    }
}
