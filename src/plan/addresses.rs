//! The addresses that follow from a cluster's networks: of the host, of each node's pods, of DNS and of load balancers.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::config::ClusterSpec;

/// The host's own address on a node network: the first.
pub fn gateway(subnet: Ipv4Net) -> Ipv4Addr {
    subnet.hosts().next().unwrap_or_else(|| subnet.network())
}

/// Addresses of a node network for services of type LoadBalancer, the first and the last: of a /24 from .200 to .250, of
/// others as large a part at their end. No node gets one of them. None where the network is smaller than a /27, which
/// nodes need for themselves.
pub fn load_balancer_pool(subnet: Ipv4Net) -> Option<(Ipv4Addr, Ipv4Addr)> {
    const MOST: u32 = 51;
    let hosts = (u32::MAX >> subnet.prefix_len().min(31)).saturating_sub(1);
    let (size, above) = ((hosts / 4).min(MOST), (hosts / 32).min(4));
    let last = u32::from(subnet.broadcast()) - 1 - above;
    (hosts > 16).then(|| (Ipv4Addr::from(last - (size - 1)), Ipv4Addr::from(last)))
}

/// The address of the cluster's DNS service: the tenth, as kubeadm has it.
pub fn cluster_dns(spec: &ClusterSpec) -> Ipv4Addr {
    spec.service_cidr.hosts().nth(9).unwrap_or_else(|| spec.service_cidr.network())
}

/// The `index`-th share of the pod addresses, a /24.
pub fn pod_cidr(all: Ipv4Net, index: usize) -> Option<Ipv4Net> {
    all.subnets(all.prefix_len().max(24)).ok()?.nth(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_room_for_load_balancers() {
        let pool = |net: &str| load_balancer_pool(net.parse().expect("a network")).map(|(a, b)| format!("{a}-{b}"));
        assert_eq!(pool("10.89.0.0/24").as_deref(), Some("10.89.0.200-10.89.0.250"));
        assert_eq!(pool("10.89.0.0/16").as_deref(), Some("10.89.255.200-10.89.255.250"));
        assert_eq!(pool("10.89.0.32/27").as_deref(), Some("10.89.0.56-10.89.0.62"));
        assert_eq!(pool("10.89.0.0/28"), None);
    }

    #[test]
    fn pod_addresses_are_shared_out_in_order() {
        let all: Ipv4Net = "10.244.0.0/16".parse().unwrap();
        assert_eq!(pod_cidr(all, 0).unwrap().to_string(), "10.244.0.0/24");
        assert_eq!(pod_cidr(all, 255).unwrap().to_string(), "10.244.255.0/24");
        assert_eq!(pod_cidr(all, 256), None);
    }
}
