//! Addresses that a cluster may have. Pure.

use ipnet::Ipv4Net;
use kcl_driver_local::subnet::{self, overlap};
use kcl_driver_oci::netlink::Taken;

/// Finds the owners of addresses of a network, other than the link `own`.
pub(crate) fn collisions<'a>(
    subnet: Ipv4Net,
    networks: &'a [Taken],
    own: &'a str,
) -> impl Iterator<Item = &'a Taken> + use<'a> {
    others(networks, own).filter(move |other| overlap(other.net, subnet))
}

/// Returns the first free network.
pub(crate) fn propose(networks: &[Taken], own: &str) -> Option<Ipv4Net> {
    subnet::propose(others(networks, own).map(|other| other.net))
}

/// Returns all networks except those of the link `own`.
fn others<'a>(networks: &'a [Taken], own: &'a str) -> impl Iterator<Item = &'a Taken> + Clone + use<'a> {
    networks.iter().filter(move |other| other.link.as_deref() != Some(own))
}

/// Returns the host's own address on a network: the first.
pub(crate) fn gateway(subnet: Ipv4Net) -> Option<Ipv4Net> {
    Some(Ipv4Net::new_assert(subnet.hosts().next()?, subnet.prefix_len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(net: &str, link: &str) -> Taken {
        Taken { net: net.parse().unwrap(), by: format!("interface {link}"), link: Some(link.into()) }
    }

    #[test]
    fn the_first_free_network_in_a_fixed_order() {
        let first: Ipv4Net = "10.89.0.0/24".parse().unwrap();
        assert_eq!(propose(&[], "kcl-0"), Some(first));
        let others = [network("10.89.0.0/23", "eth0"), network("10.89.2.128/25", "eth1")];
        assert_eq!(propose(&others, "kcl-0"), Some("10.89.3.0/24".parse().unwrap()));
        assert_eq!(propose(&[network("10.89.0.0/24", "kcl-0")], "kcl-0"), Some(first), "our own bridge is no rival");
        assert_eq!(propose(&[network("10.0.0.0/8", "tun0")], "kcl-0"), Some("172.29.0.0/24".parse().unwrap()));
        assert_eq!(propose(&[network("10.0.0.0/8", "tun0"), network("172.16.0.0/12", "tun1")], "kcl-0"), None);
    }

    #[test]
    fn the_gateway_is_the_first_host() {
        assert_eq!(gateway("10.89.3.0/24".parse().unwrap()).unwrap().to_string(), "10.89.3.1/24");
    }
}
