//! The plan of a `start`: pure data, computed from the wanted and the observed cluster. `--dry-run` prints it, golden
//! tests compare it, and running `start` again is the same code with a smaller plan.

pub mod addresses;
mod journal;

pub use journal::{Journal, Made};

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_driver_api::{MachineInfo, Power};
use kcl_node_spec::{Addresses, Role, Subnets};
use serde::Serialize;

use crate::config::ClusterSpec;
use crate::error::{Error, Id, Result};
use crate::state::{ClusterState, NodePhase, NodeRecord, Phase};

/// The time that a node has to stop its pods and components before its power is cut.
pub const POWER_OFF_GRACE: Duration = Duration::from_secs(40);

/// The situation that a plan starts from.
pub struct Observed {
    /// The state of the cluster, if there is one.
    pub state: Option<ClusterState>,
    /// The machines that the driver sees.
    pub machines: Vec<MachineInfo>,
    /// The subnet of a new cluster if the user asks for none.
    pub free_subnet: Subnets,
    /// The addresses of machines that have one of their own, by the machine's name.
    pub addresses: BTreeMap<String, Addresses>,
}

/// The action on a node's machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The machine runs and stays.
    Keep,
    /// The machine runs, and is restarted with its new configuration once the others of the plan run.
    Restart,
    /// The machine exists and is off, or is about to be.
    PowerOn,
    /// There is no machine yet.
    Create,
    /// The machine's creation was interrupted: it is deleted and created again.
    Replace,
    /// The machine does not run, and stays as it is: the run is for other nodes.
    Leave,
}

/// The plan for one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodePlan {
    /// The name of its Node object.
    pub name: String,
    /// The name of its machine.
    pub machine: String,
    /// The role of the node.
    pub role: Role,
    /// Its address on the node network.
    pub address: Addresses,
    /// The addresses of its pods.
    pub pod_cidr: Subnets,
    /// The version of Kubernetes that it runs afterwards.
    pub kubernetes_version: String,
    /// The action on its machine.
    pub action: Action,
}

/// A machine that is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leaving {
    /// The name of the machine.
    pub machine: String,
    /// The node that ran on it; none if it is left over from an interrupted run.
    pub node: Option<String>,
}

/// The steps from the observed to the wanted cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The name of the cluster.
    pub cluster: String,
    /// The names of the drivers.
    pub driver: String,
    /// The version of Kubernetes of the cluster.
    pub kubernetes_version: String,
    /// The cluster does not exist yet.
    pub new: bool,
    /// The node network.
    pub subnet: Subnets,
    /// The address of the API that the control planes share; none where nodes have addresses of their own, or in a cluster
    /// that an older kcl made with one control plane.
    pub api_address: Option<Addresses>,
    /// The nodes, in waves: the nodes of a wave are brought up together, and each wave once the one before is up.
    pub waves: Vec<Vec<NodePlan>>,
    /// The machines that are deleted.
    pub leaving: Vec<Leaving>,
    /// The nodes that the run is for; none: all of them.
    #[serde(skip)]
    pub only: Option<BTreeSet<String>>,
}

impl Plan {
    /// Returns the nodes of all waves.
    pub fn nodes(&self) -> impl Iterator<Item = &NodePlan> {
        self.waves.iter().flatten()
    }

    /// Returns the nodes whose machines are created or powered on.
    pub fn starting(&self) -> impl Iterator<Item = &NodePlan> {
        self.nodes().filter(|node| !matches!(node.action, Action::Keep | Action::Restart | Action::Leave))
    }

    /// Returns true if the run is for this node. Others are neither started nor restarted nor waited for.
    pub fn is_for(&self, node: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(node))
    }

    /// Limits the run to some nodes.
    pub fn limit_to(&mut self, only: BTreeSet<String>) {
        let others = self.waves.iter_mut().flatten().filter(|node| !only.contains(&node.name));
        for node in others.filter(|node| node.action != Action::Keep) {
            node.action = Action::Leave;
        }
        self.only = Some(only);
    }

    /// Plans to restart those of the running nodes whose configuration changes.
    pub fn restart(&mut self, changes: impl Fn(&str) -> bool) {
        for node in self.waves.iter_mut().flatten() {
            let meant = self.only.as_ref().is_none_or(|only| only.contains(&node.name));
            if meant && node.action == Action::Keep && changes(&node.name) {
                node.action = Action::Restart;
            }
        }
    }
}

/// Makes the plan of a start: all nodes in one wave; control planes that join others that exist are another one.
pub fn plan(spec: &ClusterSpec, observed: &Observed) -> Result<Plan> {
    let state = observed.state.as_ref().filter(|state| state.phase != Phase::Deleting);
    // What an interrupted `delete` left is deleted before the plan is carried out.
    let deleting = observed.state.is_some() && state.is_none();
    let machines: &[MachineInfo] = if deleting { &[] } else { &observed.machines };
    if state.is_none() && !machines.is_empty() {
        return Err(lost(spec, "has machines but no state file"));
    }
    let subnet = state.map_or_else(|| spec.subnet.unwrap_or(observed.free_subnet), |state| state.subnet);
    let api_address = api_address(spec, subnet, state, observed);
    let mut nodes = Vec::new();
    for wanted in &spec.nodes {
        let record = state.and_then(|state| state.node(&wanted.name));
        let machine = record.map_or(&wanted.name, |record| &record.machine);
        let (address, pod_cidr) = match record {
            Some(record) => (record.address, record.pod_cidr),
            None => {
                let own = observed.addresses.get(machine).copied();
                allocate(spec, (subnet, api_address), state, &nodes, own)?
            }
        };
        let action = match machines.iter().find(|info| info.name == *machine).map(|info| info.power) {
            Some(Power::Running) => Action::Keep,
            Some(Power::Stopped | Power::Stopping) => Action::PowerOn,
            Some(Power::Broken) => Action::Replace,
            None => Action::Create,
        };
        nodes.push(NodePlan {
            name: wanted.name.clone(),
            machine: machine.clone(),
            role: wanted.role,
            address,
            pod_cidr,
            kubernetes_version: spec.kubernetes_version.clone(),
            action,
        });
    }
    let joins = joining(spec, state, &nodes)?;
    let (last, first): (Vec<NodePlan>, Vec<NodePlan>) =
        nodes.iter().cloned().partition(|node| joins.contains(&node.name));
    let stays = |machine: &str| nodes.iter().any(|node| node.machine == machine);
    let node_of =
        |machine: &str| state?.nodes.iter().find(|node| node.machine == machine).map(|node| node.name.clone());
    let gone = machines.iter().filter(|info| !stays(&info.name));
    Ok(Plan {
        cluster: spec.name.clone(),
        driver: drivers(spec)?,
        kubernetes_version: spec.kubernetes_version.clone(),
        new: state.is_none(),
        subnet,
        api_address,
        leaving: gone.map(|info| Leaving { machine: info.name.clone(), node: node_of(&info.name) }).collect(),
        waves: [first, last].into_iter().filter(|wave| !wave.is_empty()).collect(),
        only: None,
    })
}

/// Returns the names of the drivers that make the cluster's machines, in the order of its nodes.
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

/// Returns the names of the control planes that join those of an existing cluster: new ones, and those whose machines are
/// lost. As long as most of the others are left, no data are lost with them.
fn joining(spec: &ClusterSpec, state: Option<&ClusterState>, nodes: &[NodePlan]) -> Result<Vec<String>> {
    let Some(state) = state.filter(|state| state.phase == Phase::Created) else { return Ok(Vec::new()) };
    let member = |node: &NodePlan| state.node(&node.name).is_some_and(|record| record.phase != NodePhase::Joining);
    let made = |node: &&NodePlan| matches!(node.action, Action::Create | Action::Replace);
    let control_planes: Vec<&NodePlan> = nodes.iter().filter(|node| node.role == Role::ControlPlane).collect();
    let members: Vec<&NodePlan> = control_planes.iter().copied().filter(|node| member(node)).collect();
    let lost: Vec<&str> = members.iter().copied().filter(made).map(|node| node.name.as_str()).collect();
    if !lost.is_empty() && (members.len() - lost.len()) * 2 <= members.len() {
        // Their etcd is gone with them: an empty one in its place would hide the loss.
        let machines =
            if lost.len() == 1 { "the machine of its control plane" } else { "the machines of its control planes" };
        return Err(self::lost(spec, &format!("has lost {machines} {}", lost.join(", "))));
    }
    let joins = control_planes.iter().filter(|node| !member(node) || made(node));
    Ok(joins.map(|node| node.name.clone()).collect())
}

/// Returns the address that the control planes share: of a new cluster, and of one that has several, even if it was made
/// without. Hosts that exist already keep to the addresses of their network.
fn api_address(
    spec: &ClusterSpec,
    subnet: Subnets,
    state: Option<&ClusterState>,
    observed: &Observed,
) -> Option<Addresses> {
    if let Some(kept) = state.and_then(|state| state.api_address) {
        return Some(kept);
    }
    let control_planes: Vec<_> = spec.nodes.iter().filter(|node| node.role == Role::ControlPlane).collect();
    let beside = control_planes.iter().any(|node| observed.addresses.contains_key(&node.name));
    let address = addresses::api(subnet).filter(|_| !beside && (state.is_none() || control_planes.len() > 1))?;
    let taken = |node: &NodeRecord| node.address.overlaps(address);
    (!state.is_some_and(|state| state.nodes.iter().any(taken))).then_some(address)
}

/// Returns the machine's `own` address, or else the first free one, and the first free share of the pod addresses.
fn allocate(
    spec: &ClusterSpec,
    (subnet, api): (Subnets, Option<Addresses>),
    state: Option<&ClusterState>,
    planned: &[NodePlan],
    own: Option<Addresses>,
) -> Result<(Addresses, Subnets)> {
    let records = state.map(|state| state.nodes.as_slice()).unwrap_or_default();
    let address_taken = |address| {
        records.iter().any(|node: &NodeRecord| node.address.overlaps(address))
            || planned.iter().any(|node| node.address.overlaps(address))
    };
    let cidr_taken = |cidr| {
        records.iter().any(|node| node.pod_cidr.overlaps(cidr))
            || planned.iter().any(|node| node.pod_cidr.overlaps(cidr))
    };
    let gateway = addresses::gateway(subnet);
    let pool = addresses::load_balancer_pool(subnet);
    let for_services =
        |address: &Addresses| pool.is_some_and(|(first, last)| (first.v4()..=last.v4()).contains(&address.v4()));
    let for_nodes = |address: &Addresses| *address != gateway && Some(*address) != api && !for_services(address);
    let free = || subnet.hosts().filter(for_nodes).find(|address| !address_taken(*address));
    let address = own.or_else(free);
    let pods = (0..).map_while(|index| addresses::pod_cidr(spec.pod_cidr, index)).find(|cidr| !cidr_taken(*cidr));
    let full = |what: &str, cidr: Subnets| {
        let error =
            Error::new(Id::NetworkConflict, format!("{what} {cidr} has no room for {} nodes", spec.nodes.len()));
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
    Error::new(Id::ClusterIncomplete, format!("cluster \"{}\" {what}", spec.name))
        .hint(format!("remove what is left with: kcl delete -p {}", spec.name))
}
