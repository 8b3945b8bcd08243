//! The addresses that follow from a cluster's networks: of the host, of each node's pods, of DNS and of load balancers.

use std::net::Ipv4Addr;

use ipnet::{Ipv4Net, Ipv6Net};
use kcl_node_spec::{Addresses, Subnets};

use crate::config::ClusterSpec;

/// The host's own address on a node network: the first.
pub fn gateway(subnet: Subnets) -> Addresses {
    subnet.hosts().next().unwrap_or_else(|| subnet.network())
}

/// The address of the cluster's API, which its control planes share: the last of the node network. None where the
/// network is smaller than a /28, which nodes need for themselves, and without IPv4.
pub fn api(subnet: Subnets) -> Option<Addresses> {
    let subnet = subnet.v4().filter(|subnet| subnet.prefix_len() <= 28)?;
    Some(Ipv4Addr::from(u32::from(subnet.broadcast()) - 1).into())
}

/// Addresses of a node network for services of type LoadBalancer, the first and the last: of a /24 from .200 to .250, of
/// others as large a part near their end. No node gets one of them. None where the network is smaller than a /27, which
/// nodes need for themselves, and without IPv4.
pub fn load_balancer_pool(subnet: Subnets) -> Option<(Addresses, Addresses)> {
    const MOST: u32 = 51;
    let subnet = subnet.v4()?;
    let hosts = (u32::MAX >> subnet.prefix_len().min(31)).saturating_sub(1);
    let (size, above) = ((hosts / 4).min(MOST), (hosts / 32).clamp(1, 4));
    let last = u32::from(subnet.broadcast()) - 1 - above;
    (hosts > 16).then(|| (Ipv4Addr::from(last - (size - 1)).into(), Ipv4Addr::from(last).into()))
}

/// The address of the cluster's DNS service: the tenth, as kubeadm has it.
pub fn cluster_dns(spec: &ClusterSpec) -> Addresses {
    spec.service_cidr.hosts().nth(9).unwrap_or_else(|| spec.service_cidr.network())
}

/// The `index`-th share of the pod addresses: a /24, of IPv6 a /64.
pub fn pod_cidr(all: Subnets, index: usize) -> Option<Subnets> {
    let v4 = |all: Ipv4Net| all.subnets(all.prefix_len().max(24)).ok()?.nth(index);
    let v6 = |all: Ipv6Net| all.subnets(all.prefix_len().max(64)).ok()?.nth(index);
    all.map(v4, v6).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_room_for_load_balancers() {
        let pool = |net: &str| load_balancer_pool(net.parse().expect("a network")).map(|(a, b)| format!("{a}-{b}"));
        assert_eq!(pool("10.89.0.0/24").as_deref(), Some("10.89.0.200-10.89.0.250"));
        assert_eq!(pool("10.89.0.0/16").as_deref(), Some("10.89.255.200-10.89.255.250"));
        assert_eq!(pool("10.89.0.32/27").as_deref(), Some("10.89.0.55-10.89.0.61"));
        assert_eq!(pool("10.89.0.0/28"), None);
    }

    #[test]
    fn the_api_has_the_last_address_of_a_network() {
        let of = |net: &str| api(net.parse().expect("a network")).map(|address| address.to_string());
        assert_eq!(of("10.89.0.0/24").as_deref(), Some("10.89.0.254"));
        assert_eq!(of("10.89.0.32/28").as_deref(), Some("10.89.0.46"));
        assert_eq!(of("10.89.0.32/29"), None);
        assert_eq!(of("fd00::/64"), None);
    }

    #[test]
    fn pod_addresses_are_shared_out_in_order() {
        let all: Subnets = "10.244.0.0/16".parse().unwrap();
        assert_eq!(pod_cidr(all, 0).unwrap().to_string(), "10.244.0.0/24");
        assert_eq!(pod_cidr(all, 255).unwrap().to_string(), "10.244.255.0/24");
        assert_eq!(pod_cidr(all, 256), None);
        let both = pod_cidr("10.244.0.0/16,fd00:244::/56".parse().unwrap(), 1).unwrap();
        assert_eq!(both.to_string(), "10.244.1.0/24,fd00:244:0:1::/64");
    }
}
