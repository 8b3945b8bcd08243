//! Nodes and clusters as lists, and a node's machine by name.

use kcl_driver_api::{Machine, Power};
use serde::Serialize;

use super::drivers;
use crate::app::App;
use crate::error::{Error, Id, Result};
use crate::plan;
use crate::state::{ClusterState, NodeRecord};

/// A row of `kcl node list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeRow {
    /// The name of the node.
    pub name: String,
    /// The role of the node: `control-plane` or `worker`.
    pub role: String,
    /// The address of the node on the node network.
    #[serde(rename = "IP")]
    pub address: String,
    /// The driver of the node's machine.
    pub driver: String,
    /// The range of its pods' addresses.
    #[serde(rename = "PodCIDR")]
    pub pod_cidr: String,
    /// The status of the machine: `Running`, `Stopping`, `Stopped`, `Broken` or `Nonexistent`.
    pub status: String,
}

/// A row of `kcl profile list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProfileRow {
    /// The name of the cluster.
    pub name: String,
    /// The status of the cluster: `Running`, `Stopped`, `Partial`, or the error that hides it.
    pub status: String,
    /// The driver of the cluster.
    pub driver: String,
    /// The cluster's version of Kubernetes.
    pub kubernetes_version: String,
    /// The number of nodes.
    pub nodes: usize,
    /// The subnet of the node network.
    pub subnet: String,
    /// The end of the cluster's lifetime; empty: never.
    pub ends: String,
    /// The state of the cluster can be read.
    #[serde(skip)]
    pub valid: bool,
}

/// Returns the nodes of a cluster.
pub async fn nodes(app: &App, cluster: &str) -> Result<Vec<NodeRow>> {
    let state = app.existing(cluster)?;
    let machines = drivers::driver_of(app, &state)?.list(Some(cluster)).await?;
    let status = |name: &str| machines.iter().find(|machine| machine.name == name).map(|machine| machine.power);
    let config = |name: &str| state.spec.nodes.iter().find(|node| node.name == name);
    let driver = |name: &str| {
        let kind = config(name).and_then(|node| state.spec.driver_of(node).ok());
        kind.map(|kind| kind.name().to_owned()).unwrap_or_default()
    };
    Ok(state
        .nodes
        .iter()
        .map(|node| NodeRow {
            name: node.name.clone(),
            role: node.role.name().to_owned(),
            address: node.address.to_string(),
            driver: driver(&node.name),
            pod_cidr: node.pod_cidr.to_string(),
            status: power(status(&node.machine)).to_owned(),
        })
        .collect())
}

/// Returns the word for the power state of a machine.
pub(super) fn power(power: Option<Power>) -> &'static str {
    match power {
        Some(Power::Running) => "Running",
        Some(Power::Stopping) => "Stopping",
        Some(Power::Stopped) => "Stopped",
        Some(Power::Broken) => "Broken",
        None => "Nonexistent",
    }
}

/// Returns all clusters, with their status.
pub async fn profiles(app: &App) -> Result<Vec<ProfileRow>> {
    let mut rows = Vec::new();
    for (name, state) in app.store.list()? {
        rows.push(match state {
            Ok(state) => {
                let nodes = nodes(app, &name).await?;
                let running = nodes.iter().filter(|node| node.status == "Running").count();
                let status = match running {
                    0 => "Stopped",
                    count if count == nodes.len() => "Running",
                    _ => "Partial",
                };
                ProfileRow {
                    status: status.to_owned(),
                    driver: plan::drivers(&state.spec).unwrap_or_default(),
                    kubernetes_version: state.spec.kubernetes_version.clone(),
                    nodes: nodes.len(),
                    subnet: state.subnet.to_string(),
                    ends: state.lifetime.to_string(),
                    valid: true,
                    name,
                }
            }
            Err(error) => ProfileRow {
                status: error.message,
                driver: String::new(),
                kubernetes_version: String::new(),
                nodes: 0,
                subnet: String::new(),
                ends: String::new(),
                valid: false,
                name,
            },
        });
    }
    Ok(rows)
}

/// Returns the running machine of a node, or of the first control plane that runs if none is named.
pub async fn machine(app: &App, cluster: &str, node: Option<&str>) -> Result<Box<dyn Machine>> {
    let state = app.existing(cluster)?;
    let driver = drivers::driver_of(app, &state)?;
    let record = match node {
        None => {
            let machines = driver.list(Some(cluster)).await?;
            let runs = |node: &&NodeRecord| {
                machines.iter().any(|machine| machine.name == node.machine && machine.power == Power::Running)
            };
            let found = state.control_planes().find(runs).or_else(|| state.control_planes().next());
            found.ok_or_else(|| {
                Error::new(Id::ClusterIncomplete, format!("cluster \"{cluster}\" has no control plane"))
            })?
        }
        Some(name) => known(&state, name)?,
    };
    let name = &record.name;
    let machine = driver.machine(cluster, &record.machine).await?;
    if machine.info().await?.power != Power::Running {
        return Err(Error::new(Id::NodeStopped, format!("node \"{name}\" does not run"))
            .hint(format!("start it with: kcl start -p {cluster}")));
    }
    Ok(machine)
}

/// Returns the record of a node, or refuses a node that the cluster does not have.
pub(super) fn known<'a>(state: &'a ClusterState, name: &str) -> Result<&'a NodeRecord> {
    state.node(name).ok_or_else(|| {
        let names: Vec<&str> = state.nodes.iter().map(|node| node.name.as_str()).collect();
        Error::new(Id::NodeUnknown, format!("cluster \"{}\" has no node \"{name}\"", state.spec.name))
            .hint(format!("its nodes are: {}", names.join(", ")))
    })
}
