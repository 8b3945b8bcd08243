//! Rules for changes of an existing cluster. Its nodes are compared by name.

use kcl_driver_api::DriverKind;

use super::spec::{ClusterSpec, NodeConfig};
use crate::error::{Error, Id, Result};

/// Checks that an existing cluster can become `wanted`.
pub(super) fn check(existing: &ClusterSpec, wanted: &ClusterSpec) -> Result<()> {
    settings(existing, wanted)?;
    let mut removed = Vec::new();
    for node in &existing.nodes {
        match wanted.node(&node.name) {
            Some(wanted_node) => same_machine(existing, node, wanted, wanted_node)?,
            None => removed.push(node.name.as_str()),
        }
    }
    match removed.is_empty() {
        true => Ok(()),
        false => Err(cannot_remove(existing, wanted, &removed)),
    }
}

/// Checks that settings of the whole cluster, which its nodes are made with, stay.
fn settings(existing: &ClusterSpec, wanted: &ClusterSpec) -> Result<()> {
    let subnet = |spec: &ClusterSpec| spec.subnet.map_or("that the driver chose".to_owned(), |net| net.to_string());
    let ports = |spec: &ClusterSpec| match spec.ports.iter().map(ToString::to_string).collect::<Vec<_>>() {
        none if none.is_empty() => "none".to_owned(),
        ports => ports.join(","),
    };
    let fixed = [
        ("driver", driver(existing.driver), driver(wanted.driver)),
        ("kubernetes-version", existing.kubernetes_version.clone(), wanted.kubernetes_version.clone()),
        ("subnet", subnet(existing), subnet(wanted)),
        ("pod-cidr", existing.pod_cidr.to_string(), wanted.pod_cidr.to_string()),
        ("service-cidr", existing.service_cidr.to_string(), wanted.service_cidr.to_string()),
        ("ports", ports(existing), ports(wanted)),
        ("dns-domain", existing.dns_domain.clone(), wanted.dns_domain.clone()),
    ];
    for (key, is, wanted) in fixed {
        // Nothing has been made of a version yet that is not exact.
        if is != wanted && !(key == "kubernetes-version" && is.split('.').count() < 3) {
            let name = &existing.name;
            let message = format!("the cluster {name} has the {key} {is}, which cannot be changed to {wanted}");
            return Err(Error::new(Id::ClusterUnchangeable, message)
                .hint(format!("to start it unchanged, leave out --{key}, its variable, or its key in the cluster file"))
                .hint(recreate(name))
                .hint("or start another cluster beside it with -p NAME"));
        }
    }
    Ok(())
}

/// Checks that the machine of a node stays what it is.
fn same_machine(
    existing: &ClusterSpec,
    node: &NodeConfig,
    wanted: &ClusterSpec,
    wanted_node: &NodeConfig,
) -> Result<()> {
    let name = &node.name;
    let (is, other) = (existing.chosen_driver(node), wanted.chosen_driver(wanted_node));
    if is != other {
        let (is, other) = (driver(is), driver(other));
        let message = format!("the node {name} has the driver {is}, which cannot be changed to {other}");
        return Err(Error::new(Id::ClusterUnchangeable, message)
            .hint("leave `driver` out of its entry of [[nodes]], or say by `name` which node each entry is for"));
    }
    if node.role != wanted_node.role {
        let (is, other) = (node.role.name(), wanted_node.role.name());
        return Err(Error::new(
            Id::ClusterUnchangeable,
            format!("the node {name} is a {is}, which cannot be changed to {other}"),
        ));
    }
    Ok(())
}

/// Makes the error for nodes that are wanted no longer.
fn cannot_remove(existing: &ClusterSpec, wanted: &ClusterSpec, removed: &[&str]) -> Error {
    let names: Vec<&str> = wanted.nodes.iter().map(|node| node.name.as_str()).collect();
    let nodes = if removed.len() == 1 { "node" } else { "nodes" };
    let message = format!(
        "the {nodes} {} of the cluster {} cannot be removed: the wanted nodes are {}",
        removed.join(", "),
        existing.name,
        names.join(", ")
    );
    let delete = removed.iter().map(|node| format!("kcl node delete -p {} {node}", existing.name));
    Error::new(Id::ClusterUnchangeable, message).hint(format!(
        "`start` deletes no node with what is on it; delete the {nodes} with: {}",
        delete.collect::<Vec<_>>().join("; ")
    ))
}

fn recreate(name: &str) -> String {
    format!("or recreate it with `kcl delete -p {name}` first, which loses everything in it")
}

fn driver(kind: Option<DriverKind>) -> String {
    kind.map_or("that is not chosen yet", DriverKind::name).to_owned()
}
