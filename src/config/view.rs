//! A cluster as a cluster file, for `config view`.

use kcl_node_spec::Role;

use super::cluster_file::{ApiServerTable, ClusterFile, NetworkTable, NodeEntry, Nodes};
use super::fields::{AddonTable, Memory};
use super::spec::{ClusterSpec, NodeConfig, node_name};
use crate::error::{Error, Id, Result};

impl ClusterSpec {
    /// Returns the cluster file that makes this cluster.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(&ClusterFile::from(self))
            .map_err(|error| Error::new(Id::Internal, format!("the spec cannot be written as TOML: {error}")))
    }
}

impl From<&ClusterSpec> for ClusterFile {
    fn from(spec: &ClusterSpec) -> Self {
        let (nodes, control_planes, cpus, memory) = nodes(spec);
        let spec = spec.clone();
        ClusterFile {
            name: Some(spec.name),
            driver: spec.driver,
            kubernetes_version: Some(spec.kubernetes_version),
            cpus,
            memory,
            cert_expiration: Some(spec.cert_expiration),
            harden: Some(spec.harden).filter(|harden| *harden),
            ports: Some(spec.ports).filter(|list| !list.is_empty()),
            mounts: Some(spec.mounts.iter().map(ToString::to_string).collect())
                .filter(|list: &Vec<_>| !list.is_empty()),
            manifests: Some(spec.manifests).filter(|list| !list.is_empty()),
            control_planes,
            nodes: Some(nodes),
            network: NetworkTable {
                subnet: spec.subnet,
                pod_cidr: Some(spec.pod_cidr),
                service_cidr: Some(spec.service_cidr),
                dns_domain: Some(spec.dns_domain),
                nameservers: spec.nameservers,
            },
            apiserver: ApiServerTable {
                names: Some(spec.apiserver_names).filter(|list| !list.is_empty()),
                ips: Some(spec.apiserver_ips).filter(|list| !list.is_empty()),
            },
            feature_gates: Some(spec.feature_gates).filter(|table| !table.is_empty()),
            addons: Some(spec.addons).filter(|table| !table.is_empty()).map(AddonTable),
            extra_config: Some(spec.extra_config).filter(|table| !table.is_empty()),
        }
    }
}

/// Returns the shortest way to write a list of nodes: with the number of control planes, if there are several, and the CPUs
/// and memory that all share.
fn nodes(spec: &ClusterSpec) -> (Nodes, Option<usize>, Option<u32>, Option<Memory>) {
    let nodes = &spec.nodes;
    let named = nodes.iter().enumerate().any(|(index, node)| node.name != node_name(&spec.name, index));
    let entry = |node: &NodeConfig| NodeEntry {
        name: Some(node.name.clone()).filter(|_| named),
        role: Some(node.role),
        count: None,
        driver: node.driver,
        cpus: node.cpus,
        memory: node.memory.map(Memory),
        labels: Some(node.labels.clone()).filter(|labels| !labels.is_empty()),
        taints: Some(node.taints.clone()).filter(|taints| !taints.is_empty()),
        host: node.host.as_ref().map(|target| target.host.clone()),
        key: node.host.as_ref().and_then(|target| target.key.clone()),
        jump: node.host.as_ref().and_then(|target| target.jump.clone()),
    };
    let control_planes = nodes.iter().filter(|node| node.role == Role::ControlPlane).count();
    let plain = |(index, node): (usize, &NodeConfig)| {
        let first = &nodes[0];
        (node.role == Role::ControlPlane) == (index < control_planes)
            && (node.cpus, node.memory) == (first.cpus, first.memory)
            && node.driver.is_none()
            && node.labels.is_empty()
            && node.taints.is_empty()
            && node.host.is_none()
    };
    if !named && nodes.iter().enumerate().all(plain) {
        let first = nodes.first();
        let memory = first.and_then(|node| node.memory).map(Memory);
        let several = Some(control_planes).filter(|count| *count > 1);
        return (Nodes::Count(nodes.len()), several, first.and_then(|node| node.cpus), memory);
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
    (Nodes::List(entries), None, None, None)
}
