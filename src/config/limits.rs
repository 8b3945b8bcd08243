//! Rules for a cluster as a whole: networks that fit, and changes that an existing cluster can take.

use std::time::Duration;

use std::net::IpAddr;

use kcl_driver_api::{DriverKind, HostMount, PublishedPort, Subnets};

use crate::config::{ClusterSpec, MAX_NODES, NodeConfig, format_lifetime, format_memory, words};
use crate::error::{Error, Family, Result};

/// The life of the CAs: leaf certificates cannot live longer.
const MAX_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Below, renewal would be due before a start is over.
const MIN_LIFETIME: Duration = Duration::from_secs(600);
/// A kubelet, containerd and a few pods do not fit in less.
const MIN_MEMORY: u64 = 256 << 20;
/// The prefix of a node's share of the pod network.
const NODE_POD_PREFIX: u8 = 24;

/// Checks what the single values do not tell.
pub(super) fn check(spec: &ClusterSpec) -> Result<()> {
    let wrong = |message: String| Err(Error::new(Family::Usage, message));
    let count = spec.nodes.len();
    for node in &spec.nodes {
        if node.cpus == Some(0) {
            return wrong(format!("cpus of the node {} is 0: give 1 or more, or leave it out for all", node.name));
        }
        if let Some(memory) = node.memory.filter(|memory| *memory < MIN_MEMORY) {
            return wrong(format!(
                "memory of the node {} is {}: it needs {} or more",
                node.name,
                format_memory(memory),
                format_memory(MIN_MEMORY)
            ));
        }
    }
    let on_host = |node: &NodeConfig| kind_of(spec, node).is_some_and(DriverKind::uses_hosts);
    if let Some(node) = spec.nodes.iter().find(|node| on_host(node) && node.host.is_none()) {
        return Err(Error::new(Family::Usage, format!("no host is named for the node {}", node.name)).hint(
            "name one for each node: --host USER@ADDRESS, or host = \"USER@ADDRESS\" in its entry of [[nodes]]",
        ));
    }
    if let Some(node) = spec.nodes.iter().find(|node| !on_host(node) && node.host.is_some()) {
        return wrong(format!(
            "the node {} has a host, so its driver is {}: leave its driver out",
            node.name,
            DriverKind::FOR_HOSTS
        ));
    }
    if !(MIN_LIFETIME..=MAX_LIFETIME).contains(&spec.cert_expiration) {
        return wrong(format!(
            "cert-expiration is {}: it has to be from 10m to 10y, the life of the CA",
            format_lifetime(spec.cert_expiration)
        ));
    }
    let networks: Vec<(&str, Subnets)> = spec
        .subnet
        .map(|subnet| ("subnet", subnet))
        .into_iter()
        .chain([("pod-cidr", spec.pod_cidr), ("service-cidr", spec.service_cidr)])
        .collect();
    for (index, (name, net)) in networks.iter().enumerate() {
        if net.network().iter().any(is_special) {
            return wrong(format!("{name} {net} is of addresses that cannot be used: give a private one"));
        }
        for (other_name, other) in &networks[index + 1..] {
            if net.overlaps(*other) {
                return Err(Error::new(Family::Usage, format!("{name} {net} overlaps {other_name} {other}"))
                    .hint("give networks that do not overlap by --subnet, --pod-cidr and --service-cidr"));
            }
        }
    }
    let few_pods = |prefix: u8| prefix > NODE_POD_PREFIX || (1usize << (NODE_POD_PREFIX - prefix).min(16)) < count;
    if spec.pod_cidr.v4().is_some_and(|net| few_pods(net.prefix_len())) {
        let needed = NODE_POD_PREFIX - count.next_power_of_two().trailing_zeros() as u8;
        return wrong(format!(
            "pod-cidr {} is too small for {count} nodes of a /{NODE_POD_PREFIX} each: give a /{needed} or larger",
            spec.pod_cidr
        ));
    }
    if spec.service_cidr.v4().is_some_and(|net| !(12..=24).contains(&net.prefix_len())) {
        // The upper bound is kube-apiserver's, of --service-cluster-ip-range.
        return wrong(format!("service-cidr {} has to be from a /12 to a /24", spec.service_cidr));
    }
    // Network, gateway and broadcast are no node's.
    let few_hosts = |prefix: u8| u64::from(u32::MAX >> prefix.min(31)) < count as u64 + 2;
    if let Some(subnet) = spec.subnet.and_then(Subnets::v4).filter(|net| few_hosts(net.prefix_len())) {
        return wrong(format!("subnet {subnet} is too small for {count} nodes and a gateway: give a /24"));
    }
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
    check_mounts(&spec.mounts)?;
    debug_assert!((1..=MAX_NODES).contains(&count) && words::check_name(&spec.name).is_ok());
    Ok(())
}

/// Returns true for an address that is not one of a host's own.
fn is_special(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    link_local || address.is_loopback() || address.is_multicast() || address.is_unspecified()
}

/// Checks that mounts do not hide each other.
pub fn check_mounts(mounts: &[HostMount]) -> Result<()> {
    for (index, mount) in mounts.iter().enumerate() {
        let hides =
            |other: &&HostMount| other.target.starts_with(&mount.target) || mount.target.starts_with(&other.target);
        if let Some(other) = mounts[..index].iter().find(hides) {
            let problem = format!("mounts: one of {other} and {mount} hides the other in a node: give places apart");
            return Err(Error::new(Family::Usage, problem));
        }
    }
    Ok(())
}

/// Who makes the machine of a node, as far as that is said.
fn kind_of(spec: &ClusterSpec, node: &NodeConfig) -> Option<DriverKind> {
    node.driver.or(spec.driver)
}

/// Checks that an existing cluster can become `wanted`.
pub(super) fn check_change(existing: &ClusterSpec, wanted: &ClusterSpec) -> Result<()> {
    let text = |subnet: Option<Subnets>| subnet.map_or("one that the driver chose".to_owned(), |net| net.to_string());
    let kind = |driver: Option<DriverKind>| driver.map_or("one that is not chosen yet", DriverKind::name).to_owned();
    let ports = |spec: &ClusterSpec| match spec.ports.iter().map(ToString::to_string).collect::<Vec<_>>() {
        none if none.is_empty() => "none".to_owned(),
        ports => ports.join(","),
    };
    let fixed = [
        ("driver", kind(existing.driver), kind(wanted.driver)),
        ("kubernetes-version", existing.kubernetes_version.clone(), wanted.kubernetes_version.clone()),
        ("subnet", text(existing.subnet), text(wanted.subnet)),
        ("pod-cidr", existing.pod_cidr.to_string(), wanted.pod_cidr.to_string()),
        ("service-cidr", existing.service_cidr.to_string(), wanted.service_cidr.to_string()),
        ("ports", ports(existing), ports(wanted)),
        ("dns-domain", existing.dns_domain.clone(), wanted.dns_domain.clone()),
    ];
    let name = &existing.name;
    for (key, is, wanted) in fixed {
        // As long as the version is no exact one, nothing has been made of it.
        if is != wanted && !(key == "kubernetes-version" && is.split('.').count() < 3) {
            return Err(Error::new(
                Family::Usage,
                format!("the cluster {name} has the {key} {is}, which cannot be changed to {wanted}"),
            )
            .hint(format!("leave out what says so (--{key}, a variable or the cluster file) to start it as it is"))
            .hint(format!("or `kcl delete -p {name}` first and start it anew, which loses all that is in it"))
            .hint("or start another cluster beside it with -p NAME"));
        }
    }
    for (node, wanted_node) in existing.nodes.iter().zip(&wanted.nodes) {
        let (is, asked) = (kind_of(existing, node), kind_of(wanted, wanted_node));
        if is != asked {
            return Err(Error::new(
                Family::Usage,
                format!("the node {} is made by {}, which cannot be changed to {}", node.name, kind(is), kind(asked)),
            )
            .hint("leave `driver` out of that entry of [[nodes]], or put the new entry after those that are there"));
        }
    }
    let (is, wanted) = (existing.nodes.len(), wanted.nodes.len());
    if wanted < is {
        return Err(Error::new(Family::Usage, format!("the cluster {name} has {is} nodes, and {wanted} are wanted"))
            .hint("nodes are added to a cluster that is there, not taken away")
            .hint(format!("`kcl delete -p {name}` first and start it anew, which loses all that is in it")));
    }
    Ok(())
}
