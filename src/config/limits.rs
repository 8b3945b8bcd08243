//! Rules for a cluster as a whole.

use std::net::IpAddr;
use std::time::Duration;

use kcl_driver_api::{DriverKind, PublishedPort};
use kcl_node_spec::{Role, Subnets};

use super::mount::check_mounts;
use super::spec::{ClusterSpec, NodeConfig};
use super::units::{format_lifetime, format_memory};
use crate::error::{Error, Id, Result};

/// The life of the CAs: leaf certificates cannot live longer.
const MAX_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);
/// The lower bound of lifetimes: below, renewal would be due before a start ends.
const MIN_LIFETIME: Duration = Duration::from_secs(600);
/// The lower bound of memory: a kubelet, containerd and a few pods do not fit in less.
const MIN_MEMORY: u64 = 256 << 20;
/// The prefix of a node's share of the pod network.
const NODE_POD_PREFIX: u8 = 24;

/// Checks the rules that hold between settings.
pub(super) fn check(spec: &ClusterSpec) -> Result<()> {
    let checks = [
        resources,
        hosts,
        control_plane,
        lifetime,
        networks,
        pod_cidr,
        service_cidr,
        subnet,
        ports,
        |spec: &ClusterSpec| check_mounts(&spec.mounts),
    ];
    checks.iter().try_for_each(|check| check(spec))
}

fn wrong(message: String) -> Result<()> {
    Err(Error::new(Id::ConfigConflict, message))
}

fn resources(spec: &ClusterSpec) -> Result<()> {
    for NodeConfig { name, cpus, memory, .. } in &spec.nodes {
        if *cpus == Some(0) {
            return wrong(format!("cpus of the node {name} is 0: give 1 or more, or leave it out for all"));
        }
        if let Some(memory) = memory.filter(|memory| *memory < MIN_MEMORY) {
            let (memory, needed) = (format_memory(memory), format_memory(MIN_MEMORY));
            return wrong(format!("memory of the node {name} is {memory}: it needs {needed} or more"));
        }
    }
    Ok(())
}

fn hosts(spec: &ClusterSpec) -> Result<()> {
    for node in &spec.nodes {
        let (name, needs_host) = (&node.name, spec.chosen_driver(node).is_some_and(DriverKind::uses_hosts));
        match (needs_host, node.host.is_some()) {
            (true, false) => {
                return Err(Error::new(Id::NodeWithoutHost, format!("no host is named for the node {name}")).hint(
                    "name one for each node: --host USER@ADDRESS, or host = \"USER@ADDRESS\" in its entry of [[nodes]]",
                ));
            }
            (false, true) => {
                return wrong(format!(
                    "the node {name} has a host, so its driver is {}: leave its driver out",
                    DriverKind::FOR_HOSTS
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn control_plane(spec: &ClusterSpec) -> Result<()> {
    match spec.nodes.iter().any(|node| node.role == Role::ControlPlane) {
        true => Ok(()),
        false => wrong("none of the nodes is a control-plane: the first one is, if no role is given".to_owned()),
    }
}

fn lifetime(spec: &ClusterSpec) -> Result<()> {
    match (MIN_LIFETIME..=MAX_LIFETIME).contains(&spec.cert_expiration) {
        true => Ok(()),
        false => wrong(format!(
            "cert-expiration is {}: it must be from 10m to 10y, the life of the CA",
            format_lifetime(spec.cert_expiration)
        )),
    }
}

fn networks(spec: &ClusterSpec) -> Result<()> {
    let subnet = spec.subnet.map(|subnet| ("subnet", subnet));
    let others = [("pod-cidr", spec.pod_cidr), ("service-cidr", spec.service_cidr)];
    let networks: Vec<(&str, Subnets)> = subnet.into_iter().chain(others).collect();
    for (index, (name, net)) in networks.iter().enumerate() {
        if net.network().iter().any(is_special) {
            return wrong(format!("{name} {net} has addresses that cannot be used: give a private network"));
        }
        if let Some((other_name, other)) = networks[index + 1..].iter().find(|(_, other)| net.overlaps(*other)) {
            return Err(Error::new(Id::NetworkConflict, format!("{name} {net} overlaps {other_name} {other}"))
                .hint("give networks that do not overlap by --subnet, --pod-cidr and --service-cidr"));
        }
    }
    Ok(())
}

/// Returns true for an address that no node or pod can have.
fn is_special(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    link_local || address.is_loopback() || address.is_multicast() || address.is_unspecified()
}

fn pod_cidr(spec: &ClusterSpec) -> Result<()> {
    let (count, Some(pods)) = (spec.nodes.len(), spec.pod_cidr.v4()) else { return Ok(()) };
    let prefix = pods.prefix_len();
    if prefix <= NODE_POD_PREFIX && 1usize << (NODE_POD_PREFIX - prefix).min(16) >= count {
        return Ok(());
    }
    let needed = NODE_POD_PREFIX - count.next_power_of_two().trailing_zeros() as u8;
    wrong(format!(
        "pod-cidr {} is too small for {count} nodes of a /{NODE_POD_PREFIX} each: give a /{needed} or larger",
        spec.pod_cidr
    ))
}

fn service_cidr(spec: &ClusterSpec) -> Result<()> {
    // The upper bound is kube-apiserver's, of --service-cluster-ip-range.
    match spec.service_cidr.v4().is_none_or(|net| (12..=24).contains(&net.prefix_len())) {
        true => Ok(()),
        false => wrong(format!("service-cidr {} must be from a /12 to a /24", spec.service_cidr)),
    }
}

fn subnet(spec: &ClusterSpec) -> Result<()> {
    // Nodes cannot have the addresses of network, gateway and broadcast.
    let needed = spec.nodes.len() as u64 + 2;
    match spec.subnet.and_then(Subnets::v4).filter(|subnet| u64::from(u32::MAX >> subnet.prefix_len().min(31)) < needed)
    {
        None => Ok(()),
        Some(subnet) => {
            wrong(format!("subnet {subnet} is too small for {} nodes and a gateway: give a /24", spec.nodes.len()))
        }
    }
}

fn ports(spec: &ClusterSpec) -> Result<()> {
    if let (Some(first), Some(port)) = (spec.nodes.first(), spec.ports.first())
        && first.host.is_some()
    {
        return wrong(format!(
            "ports: {port} cannot be published: the first node is a host, reached by its own address"
        ));
    }
    for (index, port) in spec.ports.iter().enumerate() {
        let same = |other: &&PublishedPort| (other.port, other.protocol) == (port.port, port.protocol);
        if let Some(other) = spec.ports[..index].iter().find(same) {
            return wrong(format!("ports: {port} and {other} are the same port of this host"));
        }
    }
    Ok(())
}
