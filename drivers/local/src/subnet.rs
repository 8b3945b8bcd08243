//! Chooses networks for clusters, as pure functions.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use kcl_driver_api::{Error, ErrorKind};

/// The ranges of clusters' networks, in this order: a private range that few others use, and one that container engines
/// do not use by themselves.
const POOLS: [(Ipv4Addr, u8); 2] = [(Ipv4Addr::new(10, 89, 0, 0), 16), (Ipv4Addr::new(172, 29, 0, 0), 16)];

/// The prefix length of a cluster's network.
const PREFIX: u8 = 24;

/// Tells whether two networks share an address.
pub fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// Returns the first network that shares no address with those that are `taken`.
pub fn propose(taken: impl Iterator<Item = Ipv4Net> + Clone) -> Option<Ipv4Net> {
    let pools = POOLS.iter().map(|(address, prefix)| Ipv4Net::new_assert(*address, *prefix));
    let mut nets = pools.filter_map(|pool| pool.subnets(PREFIX).ok()).flatten();
    nets.find(|net| !taken.clone().any(|other| overlap(*net, other)))
}

/// Returns the error for when [`propose`] finds none.
pub fn none_free() -> Error {
    let pools = POOLS.map(|(address, prefix)| format!("{address}/{prefix}")).join(" and ");
    Error::new(ErrorKind::SubnetTaken, format!("no free network was found in {pools}"))
        .hint("choose one with --subnet, such as --subnet 192.168.89.0/24")
}

/// Returns the interfaces and networks of a table of routes (`/proc/net/route` of proc_pid_net(5)), without the default
/// route.
pub fn routes(table: &str) -> impl Iterator<Item = (&str, Ipv4Net)> {
    all_routes(table).filter(|(_, net)| net.prefix_len() > 0)
}

/// Returns the interface of the default route of such a table.
pub fn default_interface(table: &str) -> Option<&str> {
    all_routes(table).find(|(_, net)| net.prefix_len() == 0).map(|(interface, _)| interface)
}

fn all_routes(table: &str) -> impl Iterator<Item = (&str, Ipv4Net)> {
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace();
        let interface = fields.next()?;
        // The numbers have the host's byte order.
        let mut number = |at| Some(u32::from_str_radix(fields.nth(at)?, 16).ok()?.to_ne_bytes());
        let (to, mask) = (number(0)?, number(5)?);
        Some((interface, Ipv4Net::with_netmask(to.into(), mask.into()).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_the_kernel() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let routes: Vec<_> = routes(table).collect();
        assert_eq!(routes, [("eth0", "192.168.1.0/24".parse::<Ipv4Net>().unwrap())]);
        assert_eq!(default_interface(table), Some("eth0"));
    }

    #[test]
    fn the_error_names_the_searched_ranges() {
        assert_eq!(none_free().to_string(), "no free network was found in 10.89.0.0/16 and 172.29.0.0/16");
    }
}
