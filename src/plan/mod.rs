//! What `start` is about to do: pure data, from what is wanted and what is there. `--dry-run` prints it, golden tests
//! compare it, and running `start` again is the same code with a smaller plan.

pub mod addresses;
mod journal;

pub use journal::{Journal, Made};

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use kcl_driver_api::{MachineInfo, Power};
use kcl_node_spec::Role;
use serde::Serialize;

use crate::config::ClusterSpec;
use crate::error::{Error, Family, Result};
use crate::state::{ClusterState, NodeRecord, Phase};

/// The time that a node has to stop its pods and components before its power is cut.
pub const POWER_OFF_GRACE: Duration = Duration::from_secs(40);

/// What is there.
pub struct Observed {
    /// What kcl remembers of the cluster.
    pub state: Option<ClusterState>,
    /// What the driver knows of its machines.
    pub machines: Vec<MachineInfo>,
    /// The subnet that a new cluster gets when none was asked for.
    pub free_subnet: Ipv4Net,
    /// The addresses that machines have by themselves, by name.
    pub addresses: BTreeMap<String, Ipv4Addr>,
}

/// What happens to a node's machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It runs.
    Keep,
    /// It is there and off, or about to be.
    PowerOn,
    /// It is not there.
    Create,
    /// Its creation was cut off: it is deleted and made again.
    Replace,
}

/// What happens to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodePlan {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its pods' addresses.
    pub pod_cidr: Ipv4Net,
    /// What happens to its machine.
    pub action: Action,
}

/// What `start` is about to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The cluster.
    pub cluster: String,
    /// The driver's name.
    pub driver: String,
    /// The version of Kubernetes.
    pub kubernetes_version: String,
    /// There is no such cluster yet.
    pub new: bool,
    /// An interrupted `delete` is ended first.
    pub finish_delete: bool,
    /// The node network.
    pub subnet: Ipv4Net,
    /// The nodes, control planes first.
    pub nodes: Vec<NodePlan>,
    /// Machines that no node is for, left by a run that was cut off.
    pub orphans: Vec<String>,
}

impl Plan {
    /// How many machines have to be made or powered on.
    pub fn to_start(&self) -> usize {
        self.nodes.iter().filter(|node| node.action != Action::Keep).count()
    }

    /// The names of the control planes.
    pub fn control_planes(&self) -> impl Iterator<Item = &NodePlan> {
        self.nodes.iter().filter(|node| node.role == Role::ControlPlane)
    }
}

/// Makes the plan.
pub fn plan(spec: &ClusterSpec, observed: &Observed) -> Result<Plan> {
    let finish_delete = observed.state.as_ref().is_some_and(|state| state.phase == Phase::Deleting);
    let state = observed.state.as_ref().filter(|_| !finish_delete);
    let machines: &[MachineInfo] = if finish_delete { &[] } else { &observed.machines };
    if state.is_none() && !machines.is_empty() {
        return Err(lost(spec, "has machines but no state file"));
    }
    if spec.nodes.iter().filter(|node| node.role == Role::ControlPlane).count() > 1 {
        return Err(Error::new(Family::Usage, "several control planes were asked for; this kcl makes clusters of one")
            .hint("give every entry of [[nodes]] but the first role = \"worker\""));
    }
    let subnet = state.map_or_else(|| spec.subnet.unwrap_or(observed.free_subnet), |state| state.subnet);
    let mut nodes = Vec::new();
    for wanted in &spec.nodes {
        let record = state.and_then(|state| state.nodes.iter().find(|node| node.name == wanted.name));
        let (address, pod_cidr) = match record {
            Some(record) => (record.address, record.pod_cidr),
            None => allocate(spec, subnet, state, &nodes, observed.addresses.get(&wanted.name).copied())?,
        };
        let power = machines.iter().find(|machine| machine.name == wanted.name).map(|machine| machine.power);
        let action = match power {
            Some(Power::Running) => Action::Keep,
            Some(Power::Stopped | Power::Stopping) => Action::PowerOn,
            Some(Power::Broken) => Action::Replace,
            None => Action::Create,
        };
        let whole = state.is_some_and(|state| state.phase == Phase::Created) && record.is_some();
        if whole && wanted.role == Role::ControlPlane && matches!(action, Action::Create | Action::Replace) {
            // Its etcd is gone with it: to make an empty one in its place would hide the loss.
            return Err(lost(spec, &format!("has lost the machine of its control plane {}", wanted.name)));
        }
        nodes.push(NodePlan { name: wanted.name.clone(), role: wanted.role, address, pod_cidr, action });
    }
    let known = |machine: &&MachineInfo| spec.nodes.iter().any(|node| node.name == machine.name);
    Ok(Plan {
        cluster: spec.name.clone(),
        driver: drivers(spec)?,
        kubernetes_version: spec.kubernetes_version.clone(),
        new: state.is_none(),
        finish_delete,
        subnet,
        orphans: machines.iter().filter(|machine| !known(machine)).map(|machine| machine.name.clone()).collect(),
        nodes,
    })
}

/// The names of the drivers that make the cluster's machines, in the order of its nodes.
pub fn drivers(spec: &ClusterSpec) -> Result<String> {
    let mut names: Vec<&str> = Vec::new();
    for node in &spec.nodes {
        let name = spec.driver_of(node)?.name();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names.join(", "))
}

/// The first address, where the machine has none of its `own`, and the first share of pod addresses that no node has.
fn allocate(
    spec: &ClusterSpec,
    subnet: Ipv4Net,
    state: Option<&ClusterState>,
    planned: &[NodePlan],
    own: Option<Ipv4Addr>,
) -> Result<(Ipv4Addr, Ipv4Net)> {
    let records = state.map(|state| state.nodes.as_slice()).unwrap_or_default();
    let address_taken = |address| {
        records.iter().any(|node: &NodeRecord| node.address == address)
            || planned.iter().any(|node| node.address == address)
    };
    let cidr_taken =
        |cidr| records.iter().any(|node| node.pod_cidr == cidr) || planned.iter().any(|node| node.pod_cidr == cidr);
    let gateway = addresses::gateway(subnet);
    let pool = addresses::load_balancer_pool(subnet);
    let for_nodes =
        |address: &Ipv4Addr| *address != gateway && !pool.is_some_and(|(first, last)| (first..=last).contains(address));
    let free = || subnet.hosts().filter(for_nodes).find(|address| !address_taken(*address));
    let address = own.or_else(free);
    let pods = (0..).map_while(|index| addresses::pod_cidr(spec.pod_cidr, index)).find(|cidr| !cidr_taken(*cidr));
    let full = |what: &str, cidr: Ipv4Net| {
        let error = Error::new(Family::Usage, format!("{what} {cidr} has no room for {} nodes", spec.nodes.len()));
        match state {
            None => error.hint(format!("choose a larger one with --{what}")),
            Some(_) => error.hint(format!(
                "the {what} of a cluster is chosen when it is made: ask for fewer nodes, or make another cluster beside it \
                 with -p NAME and a larger --{what}"
            )),
        }
    };
    Ok((address.ok_or_else(|| full("subnet", subnet))?, pods.ok_or_else(|| full("pod-cidr", spec.pod_cidr))?))
}

fn lost(spec: &ClusterSpec, what: &str) -> Error {
    Error::new(Family::State, format!("cluster \"{}\" {what}", spec.name))
        .hint(format!("remove what is left with: kcl delete -p {}", spec.name))
}
