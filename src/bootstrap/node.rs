//! The configuration of a node: its spec, and the files beside it.

use std::net::IpAddr;

use kcl_driver_api::{File, Network};
use kcl_node_spec::{
    Addresses, Capacity, EtcdMember, HostEntry, KubernetesSpec, NodeNetwork, NodeSpec, Peer, Role, Route, SCHEMA, paths,
};
use sha2::{Digest, Sha256};

use super::{Resolvers, system::HOST_NAME};
use crate::error::{Error, Id, Result};
use crate::plan::addresses::cluster_dns;
use crate::state::{ClusterState, NodePhase, NodeRecord};

/// Returns the spec of one node of a cluster.
pub fn node_spec(
    state: &ClusterState,
    record: &NodeRecord,
    network: &Network,
    resolvers: &Resolvers,
    bounded_from_outside: bool,
) -> NodeSpec {
    let spec = &state.spec;
    let config = spec.nodes.iter().find(|node| node.name == record.name);
    let link = network.link(&record.machine);
    let capacity = config.filter(|_| bounded_from_outside);
    NodeSpec {
        schema: SCHEMA,
        cluster: spec.name.clone(),
        name: record.name.clone(),
        role: record.role,
        address: record.address,
        network: NodeNetwork {
            interface: link.interface.clone(),
            subnet: link.subnet,
            gateway: link.gateway,
            mtu: link.mtu,
            nameservers: resolvers.nameservers.clone(),
            search: resolvers.search.clone(),
            options: resolvers.options.clone(),
            hosts: hosts(state, network, record),
            pod_cidr: record.pod_cidr,
            cluster_cidr: spec.pod_cidr,
            service_cidr: spec.service_cidr,
            cluster_dns: cluster_dns(spec),
            dns_domain: spec.dns_domain.clone(),
            peers: peers(state, network, record),
            routes: routes(state, network, record),
            vni: vni(state),
        },
        capacity: Capacity { cpus: capacity.and_then(|node| node.cpus), memory: capacity.and_then(|node| node.memory) },
        proxy: state.proxy.clone(),
        kubernetes: KubernetesSpec {
            version: record.kubernetes_version.clone(),
            api_servers: state.control_planes().map(NodeRecord::api_server).collect(),
            api_address: state.api_address.filter(|_| record.role == Role::ControlPlane),
            etcd_members: members(state, record),
            feature_gates: spec.feature_gates.clone(),
            extra: spec.extra_config.clone(),
            etcd_join: record.role == Role::ControlPlane && record.phase == NodePhase::Joining,
            taints: config.map(|node| node.taints.clone()).unwrap_or_default(),
            // Only the API server reads it.
            harden: spec.harden && record.role == Role::ControlPlane,
        },
    }
}

/// Returns the members of etcd as a node has to know them. Those that have a vote learn of further ones once these have one
/// too: the only member of a cluster is restarted then, when others serve in its place.
fn members(state: &ClusterState, record: &NodeRecord) -> Vec<EtcdMember> {
    let joins = |node: &NodeRecord| node.phase == NodePhase::Joining;
    let known = state.control_planes().filter(|node| joins(record) || !joins(node));
    let member = |node: &NodeRecord| EtcdMember { name: node.name.clone(), address: node.address.primary() };
    known.filter(|_| record.role == Role::ControlPlane).map(member).collect()
}

/// Returns the spec as a file of the node.
pub(super) fn spec_file(spec: &NodeSpec) -> Result<File> {
    let content = serde_json::to_vec_pretty(spec)
        .map_err(|error| Error::new(Id::Internal, format!("the node spec of {}: {error}", spec.name)))?;
    // The proxy's URL may hold a password.
    Ok(File { path: paths::SPEC.into(), mode: 0o600, content })
}

/// Returns the part of a spec whose changes need a restart of the node. An agent applies others while it runs
/// (`kcl-node reload`): other nodes, control planes among them, and the resolvers and the proxy of a host that has moved to another network.
pub(super) fn lasting(mut spec: NodeSpec) -> NodeSpec {
    let network = &mut spec.network;
    network.peers.clear();
    network.hosts.clear();
    network.nameservers.clear();
    network.search.clear();
    network.options.clear();
    // A kubelet sets them only as it registers its node.
    spec.kubernetes.taints.clear();
    spec.kubernetes.api_servers.clear();
    spec.kubernetes.api_address = None;
    spec.kubernetes.etcd_members.clear();
    spec.kubernetes.etcd_join = false;
    spec.proxy = None;
    spec
}

/// Returns the digest of a node's configuration: if it changes, the node has to be configured again.
pub(super) fn digest<'a>(files: impl IntoIterator<Item = &'a File>) -> String {
    let mut sorted: Vec<&File> = files.into_iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let mut hash = Sha256::new();
    for file in sorted {
        hash.update(file.path.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update((file.content.len() as u64).to_le_bytes());
        hash.update(&file.content);
    }
    base16ct::lower::encode_string(&hash.finalize()[..16])
}

fn hosts(state: &ClusterState, network: &Network, own: &NodeRecord) -> Vec<HostEntry> {
    let entry = |address: IpAddr, name: &str| HostEntry { address, names: vec![name.to_owned()] };
    let host = network.link(&own.machine).host.or(network.host);
    let host = host.into_iter().flat_map(Addresses::iter).map(|address| entry(address, HOST_NAME));
    let node = |node: &NodeRecord| node.address.iter().map(|address| entry(address, &node.name)).collect::<Vec<_>>();
    host.chain(state.nodes.iter().flat_map(node)).collect()
}

fn peers(state: &ClusterState, network: &Network, own: &NodeRecord) -> Vec<Peer> {
    let link = network.link(&own.machine);
    let peer = |node: &NodeRecord| {
        let other = network.link(&node.machine);
        Peer {
            name: node.name.clone(),
            address: node.address,
            pod_cidr: node.pod_cidr,
            overlay: other.subnet != link.subnet || other.masquerades || link.masquerades,
        }
    };
    state.nodes.iter().filter(|node| node.name != own.name).map(peer).collect()
}

/// Returns the routes of a node that is beside this host rather than on the network that the host made: it reaches that
/// network through the host.
fn routes(state: &ClusterState, network: &Network, own: &NodeRecord) -> Vec<Route> {
    let link = network.link(&own.machine);
    let beside = link.host.filter(|host| link.subnet.contains(*host) && link.subnet != network.subnet);
    let behind = state.nodes.iter().any(|node| network.link(&node.machine).subnet == network.subnet);
    let ways = beside.filter(|_| behind).into_iter().flat_map(|host| network.subnet.via(host));
    ways.map(|(to, via)| Route { to, via }).collect()
}

/// Returns the number of the cluster's VXLAN, which separates it from those of other clusters on the same segments.
fn vni(state: &ClusterState) -> u32 {
    let seed = format!("{} {}", state.spec.name, state.created);
    let digest = Sha256::digest(seed.as_bytes());
    // The kernel does not accept 0.
    u32::from_be_bytes([0, digest[0], digest[1], digest[2]]).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_does_not_depend_on_the_order_of_files() {
        let file = |path: &str, content: &str| File { path: path.into(), mode: 0o600, content: content.into() };
        let (a, b) = (file("/a", "1"), file("/b", "2"));
        assert_eq!(digest(&[a.clone(), b.clone()]), digest(&[b.clone(), a.clone()]));
        assert_ne!(digest(&[a.clone(), b]), digest(&[a, file("/b", "3")]));
    }
}
