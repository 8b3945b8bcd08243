//! The list of nodes: a number of them, the entries of `[[nodes]]`, or hosts. Nodes are known by their names.

use std::path::{Path, PathBuf};

use kcl_driver_api::DriverKind;
use kcl_driver_ssh::{Place, Target};
use kcl_node_spec::Role;

use super::cluster_file::{NodeEntry, entry_name};
use super::fields::Memory;
use super::flag::{read, read_list, said_by};
use super::spec::{ClusterSpec, NodeConfig, node_name};
use super::validate::{self, Checked};
use super::{labels, units};
use crate::error::Result;

/// The most control planes of a cluster: etcd advises against more than seven members, as each write waits for most of them.
const MAX_CONTROL_PLANES: usize = 7;

/// Makes the list as long as `count`: new nodes are workers with the limits of the last node.
pub(super) fn resize(spec: &mut ClusterSpec, count: usize) -> Checked<()> {
    spec.nodes.truncate(validate::node_count(count)?);
    while spec.nodes.len() < count {
        let (cpus, memory) = spec.nodes.last().map_or((None, None), |last| (last.cpus, last.memory));
        let node = NodeConfig { cpus, memory, ..next(spec, &[]) };
        spec.nodes.push(node);
    }
    Ok(())
}

/// Makes `count` nodes control planes: of a new cluster the first ones, of one that exists new nodes, as the role of a node
/// stays. Nodes that are missing are added, unless the user has given their number (`counted`).
pub(super) fn control_planes(
    spec: &mut ClusterSpec,
    existing: Option<&ClusterSpec>,
    count: usize,
    counted: bool,
) -> Checked<()> {
    if !(1..=MAX_CONTROL_PLANES).contains(&count) {
        return Err(format!("{count} control planes are not possible: a cluster has 1 to {MAX_CONTROL_PLANES}"));
    }
    let is_new = |node: &NodeConfig| existing.is_none_or(|existing| existing.node(&node.name).is_none());
    let mut missing = count;
    for node in spec.nodes.iter().filter(|node| !is_new(node) && node.role == Role::ControlPlane) {
        missing = missing.checked_sub(1).ok_or_else(|| {
            format!(
                "the cluster has more than {count}; delete one with: kcl node delete -p {} {}",
                spec.name, node.name
            )
        })?;
    }
    for node in spec.nodes.iter_mut().filter(|node| is_new(node)) {
        node.role = if missing > 0 { Role::ControlPlane } else { Role::Worker };
        missing = missing.saturating_sub(1);
    }
    if missing > 0 && counted {
        let nodes = spec.nodes.len();
        return Err(format!(
            "{count} control planes need {missing} more than the {nodes} nodes: control planes count as nodes too"
        ));
    }
    validate::node_count(spec.nodes.len() + missing)?;
    for _ in 0..missing {
        let (cpus, memory) = spec.nodes.last().map_or((None, None), |last| (last.cpus, last.memory));
        let node = NodeConfig { role: Role::ControlPlane, cpus, memory, ..next(spec, &[]) };
        spec.nodes.push(node);
    }
    Ok(())
}

/// Makes the list that the entries of a cluster file describe. An entry is for the node that it names, or else for the
/// next one that no entry names; nodes without an entry are left out. `cpus` and `memory` are for entries that have none.
pub(super) fn apply(
    spec: &mut ClusterSpec,
    entries: &[NodeEntry],
    cpus: Option<u32>,
    memory: Option<Memory>,
) -> Checked<()> {
    let count = entries.iter().try_fold(0usize, |sum, entry| sum.checked_add(entry.count.unwrap_or(1)));
    validate::node_count(count.unwrap_or(usize::MAX))?;
    let named = named(&spec.name, entries)?;
    let before = spec.nodes.clone();
    let mut unnamed = before.iter().filter(|node| !named.contains(&node.name));
    let mut nodes = Vec::new();
    let repeated = entries
        .iter()
        .enumerate()
        .flat_map(|(index, entry)| std::iter::repeat_n((index, entry), entry.count.unwrap_or(1)));
    for (index, entry) in repeated {
        let found = match &entry.name {
            Some(name) => spec.node(name),
            None => unnamed.next(),
        };
        let mut node = match (found, &entry.name) {
            (Some(node), _) => node.clone(),
            (None, Some(name)) => NodeConfig { name: name.clone(), ..NodeConfig::new(&spec.name, 1) },
            (None, None) => next(spec, &named),
        };
        if found.is_none() {
            node.role = entry.role.unwrap_or(node.role);
            spec.nodes.push(node.clone());
        }
        merge(&spec.name, &mut node, entry, cpus, memory)
            .map_err(|problem| format!("{}: {problem}", entry_name(index)))?;
        nodes.push(node);
    }
    // The order of nodes that exist stays, whatever the order of their entries.
    let place = |node: &NodeConfig| before.iter().position(|old| old.name == node.name).unwrap_or(before.len());
    nodes.sort_by_key(place);
    spec.nodes = nodes;
    Ok(())
}

/// Returns the names that entries have.
fn named(profile: &str, entries: &[NodeEntry]) -> Checked<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if let Some(name) = &entry.name {
            validate::node(profile, name).map_err(|problem| format!("{}: {problem}", entry_name(index)))?;
            if names.contains(name) {
                return Err(format!("{}: there is an entry for the node {name} already", entry_name(index)));
            }
            names.push(name.clone());
        }
    }
    Ok(names)
}

/// Changes a node as its entry says.
fn merge(
    profile: &str,
    node: &mut NodeConfig,
    entry: &NodeEntry,
    cpus: Option<u32>,
    memory: Option<Memory>,
) -> Checked<()> {
    if let Some(role) = entry.role.filter(|role| *role != node.role) {
        let (name, is, wanted) = (&node.name, node.role.name(), role.name());
        return Err(match name == profile {
            true => format!("the first node, {name}, is always a {is}, not a {wanted}"),
            false => format!("the node {name} is a {is}, which cannot be changed to {wanted}"),
        });
    }
    node.driver = entry.driver.or(node.driver);
    node.cpus = entry.cpus.or(cpus).or(node.cpus);
    node.memory = entry.memory.or(memory).map(|memory| memory.0).or(node.memory);
    if let Some(host) = &entry.host {
        node.host = Some(Target { host: host.clone(), key: entry.key.clone(), jump: entry.jump.clone() });
    }
    if let Some(labels) = &entry.labels {
        node.labels.clone_from(labels);
    }
    if let Some(taints) = &entry.taints {
        node.taints.clone_from(taints);
    }
    Ok(())
}

/// Makes the nodes of these hosts, all with the same key.
pub(super) fn hosts(
    spec: &mut ClusterSpec,
    hosts: &[Place],
    key: Option<&PathBuf>,
    jump: Option<&Place>,
) -> Checked<()> {
    if !hosts.is_empty() {
        resize(spec, hosts.len())?;
    }
    for (node, host) in spec.nodes.iter_mut().zip(hosts) {
        node.host = Some(Target { host: host.clone(), key: None, jump: None });
    }
    for target in spec.nodes.iter_mut().filter_map(|node| node.host.as_mut()) {
        target.key = key.cloned().or(target.key.take());
        target.jump = jump.cloned().or(target.jump.take());
    }
    Ok(())
}

/// A node to add to a cluster, as flags describe it.
#[derive(Clone, Debug, Default)]
pub struct NewNode {
    /// The name of the node, if it is not the next free one.
    pub name: Option<String>,
    /// The role of the node; a worker by default.
    pub role: Option<Role>,
    /// The driver of its machine: `--driver`.
    pub driver: Option<String>,
    /// The CPUs of the node: `--cpus`.
    pub cpus: Option<u32>,
    /// The memory of the node: `--memory`.
    pub memory: Option<String>,
    /// Labels of the node, each `key=value`: `--label`.
    pub labels: Vec<String>,
    /// Taints of the node, each `key=value:Effect`: `--taint`.
    pub taints: Vec<String>,
    /// The existing host that becomes the node: `--host`.
    pub host: Option<String>,
    /// The private key for the host: `--ssh-key`.
    pub ssh_key: Option<PathBuf>,
    /// The jump host: `--ssh-jump`.
    pub ssh_jump: Option<String>,
}

/// Adds a node. What its flags leave open is as of the last node, if both have the same driver.
pub(super) fn add(spec: &mut ClusterSpec, new: &NewNode) -> Result<()> {
    let place = |text: &str| text.parse::<Place>().map_err(|error| error.message);
    let name = said_by("NAME");
    validate::node_count(spec.nodes.len() + 1).map_err(&name)?;
    let mut node = match &new.name {
        None => next(spec, &[]),
        Some(given) => {
            validate::node(&spec.name, given).map_err(&name)?;
            if spec.node(given).is_some() {
                return Err(name(format!("the cluster {} has a node {given} already", spec.name))
                    .hint(format!("leave the name out for the next free one, {}", next(spec, &[]).name)));
            }
            NodeConfig { name: given.clone(), ..NodeConfig::new(&spec.name, 1) }
        }
    };
    node.role = new.role.unwrap_or(Role::Worker);
    node.driver = read(new.driver.as_deref(), "--driver", validate::driver)?;
    if let Some(text) = &new.host {
        let key = new.ssh_key.as_deref().map(|path| validate::key(Path::new(""), path).map_err(said_by("--ssh-key")));
        let jump = read(new.ssh_jump.as_deref(), "--ssh-jump", place)?;
        node.host = Some(Target { host: place(text).map_err(said_by("--host"))?, key: key.transpose()?, jump });
        node.driver = node.driver.or(Some(DriverKind::FOR_HOSTS));
    }
    node.driver = node.driver.filter(|kind| spec.driver != Some(*kind));
    let like = spec.nodes.last().filter(|last| spec.chosen_driver(last) == spec.chosen_driver(&node));
    let (cpus, memory) = like.map_or((None, None), |like| (like.cpus, like.memory));
    node.cpus = new.cpus.or(cpus);
    node.memory = read(new.memory.as_deref(), "--memory", units::parse_memory)?.or(memory);
    node.labels = read_list(&new.labels, "--label", labels::parse)?.into_iter().collect();
    node.taints = read_list(&new.taints, "--taint", str::parse)?;
    labels::check_taints(&node.taints).map_err(said_by("--taint"))?;
    spec.nodes.push(node);
    Ok(())
}

/// Returns a node with the first free name, which is not one of `reserved`; names of deleted nodes are used again.
fn next(spec: &ClusterSpec, reserved: &[String]) -> NodeConfig {
    let first = spec.nodes.len().min(1);
    let is_free = |name: &String| spec.node(name).is_none() && !reserved.contains(name);
    let index = (first..).find(|index| is_free(&node_name(&spec.name, *index))).unwrap_or_default();
    NodeConfig::new(&spec.name, index)
}
