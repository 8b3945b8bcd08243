//! Which addresses a cluster may have. Pure.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Where networks of clusters are taken from, in this order: a private range that few others use, and one that engines
/// do not take from by themselves.
const POOLS: [(Ipv4Addr, u8); 2] = [(Ipv4Addr::new(10, 89, 0, 0), 16), (Ipv4Addr::new(172, 29, 0, 0), 16)];

/// How large a cluster's network is.
const PREFIX: u8 = 24;

/// Addresses that somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The addresses.
    pub net: Ipv4Net,
    /// Who has them, in words.
    pub by: String,
}

/// Who has addresses of a network already.
pub(crate) fn collisions(subnet: Ipv4Net, taken: &[Taken]) -> impl Iterator<Item = &Taken> {
    taken.iter().filter(move |taken| taken.net.contains(&subnet.network()) || subnet.contains(&taken.net.network()))
}

/// The first network that nobody has.
pub(crate) fn propose(taken: &[Taken]) -> Option<Ipv4Net> {
    let pools = POOLS.iter().map(|(address, prefix)| Ipv4Net::new_assert(*address, *prefix));
    let mut nets = pools.filter_map(|pool| pool.subnets(PREFIX).ok()).flatten();
    nets.find(|net| collisions(*net, taken).next().is_none())
}

/// Routes of this host, from the lines of /proc/net/route (proc_pid_net(5)); that of everything and those by the
/// interface `own` are left out.
pub(crate) fn routes(table: &str, own: &str) -> Vec<Taken> {
    let number = |text: &str| u32::from_str_radix(text, 16).ok().map(|number| Ipv4Addr::from(number.swap_bytes()));
    let route = |line: &str| {
        let mut fields = line.split_whitespace();
        let (interface, to) = (fields.next()?, number(fields.next()?)?);
        let mask = number(fields.nth(5)?)?;
        let net = Ipv4Net::with_netmask(to, mask).ok()?;
        (interface != own && net.prefix_len() > 0).then(|| Taken { net, by: format!("interface {interface}") })
    };
    table.lines().skip(1).filter_map(route).collect()
}

/// The interface of this host's default route, from the same table.
pub(crate) fn default_interface(table: &str) -> Option<&str> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let interface = fields.next()?;
        (fields.next()? == "00000000" && fields.nth(5)? == "00000000").then_some(interface)
    })
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
