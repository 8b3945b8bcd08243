//! The list of nodes: what a number, `[[nodes]]`, CPUs and memory make of it.

use std::path::{Path, PathBuf};

use kcl_driver_ssh::{Place, Target};

use crate::config::cluster_file::{Memory, NodeEntry, Nodes};
use crate::config::words::Checked;
use crate::config::{ClusterSpec, MAX_NODES, NodeConfig, node_name};

/// Makes the list as long as `count`: new nodes are workers with the limits of the last node.
pub(super) fn resize(spec: &mut ClusterSpec, count: usize) -> Checked<()> {
    if !(1..=MAX_NODES).contains(&count) {
        return Err(wrong_count(count));
    }
    spec.nodes.truncate(count);
    while spec.nodes.len() < count {
        let (cpus, memory) = spec.nodes.last().map_or((None, None), |last| (last.cpus, last.memory));
        let node = NodeConfig { cpus, memory, ..next(spec) };
        spec.nodes.push(node);
    }
    Ok(())
}

/// What is wrong with a number of nodes.
pub(super) fn wrong_count(count: impl std::fmt::Display) -> String {
    format!("{count} nodes are not possible: a cluster has 1 to {MAX_NODES}")
}

/// Puts the nodes of a cluster file, in their order, over those that are there. `cpus` and `memory` are for those that
/// say none of their own.
pub(super) fn apply(spec: &mut ClusterSpec, nodes: &Nodes, cpus: Option<u32>, memory: Option<Memory>) -> Checked<()> {
    let entries = match nodes {
        Nodes::Count(count) => return resize(spec, *count),
        Nodes::List(entries) => entries,
    };
    let count = entries.iter().try_fold(0usize, |sum, entry| sum.checked_add(entry.count.unwrap_or(1)));
    match count {
        Some(count) if (1..=MAX_NODES).contains(&count) => spec.nodes.truncate(count),
        count => return Err(wrong_count(count.unwrap_or(usize::MAX))),
    }
    let entries = entries.iter().flat_map(|entry| std::iter::repeat_n(entry, entry.count.unwrap_or(1)));
    for (index, entry) in entries.enumerate() {
        if index == spec.nodes.len() {
            let node = NodeConfig { role: entry.role.unwrap_or(kcl_node_spec::Role::Worker), ..next(spec) };
            spec.nodes.push(node);
        }
        let node = &mut spec.nodes[index];
        if let Some(role) = entry.role.filter(|role| *role != node.role) {
            return Err(format!(
                "entry {} of the nodes has the role {}, but the node {} is a {}{}",
                index + 1,
                role.name(),
                node.name,
                node.role.name(),
                if index == 0 { ": the first node always is" } else { " and keeps its role" },
            ));
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
    }
    Ok(())
}

/// The shortest way to write a list of nodes, with the CPUs and memory that all share.
pub(super) fn write(nodes: &[NodeConfig]) -> (Nodes, Option<u32>, Option<Memory>) {
    let entry = |node: &NodeConfig| NodeEntry {
        role: Some(node.role),
        count: None,
        driver: node.driver,
        cpus: node.cpus,
        memory: node.memory.map(Memory),
        labels: Some(node.labels.clone()).filter(|labels| !labels.is_empty()),
        host: node.host.as_ref().map(|target| target.host.clone()),
        key: node.host.as_ref().and_then(|target| target.key.clone()),
        jump: node.host.as_ref().and_then(|target| target.jump.clone()),
    };
    let plain = |(index, node): (usize, &NodeConfig)| {
        let first = &nodes[0];
        node.role == NodeConfig::new("", index).role
            && (node.cpus, node.memory) == (first.cpus, first.memory)
            && node.driver.is_none()
            && node.labels.is_empty()
            && node.host.is_none()
    };
    if nodes.iter().enumerate().all(plain) {
        let first = nodes.first();
        let memory = first.and_then(|node| node.memory).map(Memory);
        return (Nodes::Count(nodes.len()), first.and_then(|node| node.cpus), memory);
    }
    let mut entries: Vec<NodeEntry> = Vec::new();
    for node in nodes {
        let new = entry(node);
        match entries.last_mut() {
            Some(last) if NodeEntry { count: None, ..last.clone() } == new => {
                last.count = Some(last.count.unwrap_or(1) + 1);
            }
            _ => entries.push(new),
        }
    }
    (Nodes::List(entries), None, None)
}

/// The nodes are these hosts, in their order; all take the same key.
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

/// The absolute path of a private key, which has to be there; `~` is the user's home.
pub(super) fn key(base: &Path, path: &Path) -> Checked<PathBuf> {
    let home = std::env::home_dir().unwrap_or_default();
    let path = path.strip_prefix("~").map_or_else(|_| base.join(path), |rest| home.join(rest));
    manifest(&path)
}

/// The absolute path of a file with manifests, which has to be there.
pub(super) fn manifest(path: &Path) -> Checked<PathBuf> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => std::path::absolute(path).map_err(|error| error.to_string()),
        Ok(_) => Err(format!("{} is not a file", path.display())),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

/// A node with the first free name: names of deleted nodes are used again.
fn next(spec: &ClusterSpec) -> NodeConfig {
    let mut index = spec.nodes.len().min(1);
    while spec.nodes.iter().any(|node| node.name == node_name(&spec.name, index)) {
        index += 1;
    }
    NodeConfig::new(&spec.name, index)
}
