//! Chooses addresses for a cluster, as pure functions.

use ipnet::Ipv4Net;
pub(crate) use kcl_driver_local::subnet::default_interface;
use kcl_driver_local::subnet::{self, overlap};

/// Addresses that are in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The network of the addresses.
    pub net: Ipv4Net,
    /// The owner, in words.
    pub by: String,
}

/// Returns the owners of addresses in a network.
pub(crate) fn collisions(subnet: Ipv4Net, taken: &[Taken]) -> impl Iterator<Item = &Taken> {
    taken.iter().filter(move |taken| overlap(taken.net, subnet))
}

/// Returns the first network that is free.
pub(crate) fn propose(taken: &[Taken]) -> Option<Ipv4Net> {
    subnet::propose(taken.iter().map(|taken| taken.net))
}

/// Reads the routes of this host, from the lines of /proc/net/route (proc_pid_net(5)), except the default route and
/// those by the interface `own`.
pub(crate) fn routes(table: &str, own: &str) -> Vec<Taken> {
    let others = subnet::routes(table).filter(|(interface, _)| *interface != own);
    others.map(|(interface, net)| Taken { net, by: format!("interface {interface}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t0100590A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        eth0\t0000590A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
        kcld-0\t0001590A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";

    #[test]
    fn routes_of_the_host() {
        let taken = routes(TABLE, "kcld-0");
        assert_eq!(taken, [Taken { net: "10.89.0.0/24".parse().unwrap(), by: "interface eth0".into() }]);
        assert_eq!(default_interface(TABLE), Some("eth0"));
        assert_eq!(propose(&taken), Some("10.89.1.0/24".parse().unwrap()));
        assert_eq!(propose(&routes(TABLE, "none")), Some("10.89.2.0/24".parse().unwrap()));
    }

    #[test]
    fn the_first_free_network_in_a_fixed_order() {
        let taken = |net: &str| Taken { net: net.parse().unwrap(), by: "x".into() };
        assert_eq!(propose(&[]), Some("10.89.0.0/24".parse().unwrap()));
        assert_eq!(propose(&[taken("10.0.0.0/8")]), Some("172.29.0.0/24".parse().unwrap()));
        assert_eq!(propose(&[taken("10.0.0.0/8"), taken("172.16.0.0/12")]), None);
        assert_eq!(collisions("10.1.0.0/16".parse().unwrap(), &[taken("10.1.2.0/24")]).count(), 1);
    }
}
