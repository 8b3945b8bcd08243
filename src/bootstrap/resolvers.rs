//! The host's resolvers, as far as a node can use them.

use std::net::IpAddr;
use std::path::Path;

use crate::config::ClusterSpec;

/// Where resolvers are looked for, in order: the usual file, and what systemd-resolved really forwards to, for when the
/// usual file names only its stub on loopback (`man 8 systemd-resolved`, "/etc/resolv.conf").
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// Resolvers and search domains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolvers {
    /// Addresses that a node can reach; empty: the host has none.
    pub nameservers: Vec<IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
}

impl Resolvers {
    /// For a cluster: what its file says, or the host's.
    pub fn for_cluster(spec: &ClusterSpec) -> Self {
        match &spec.nameservers {
            Some(nameservers) => Resolvers { nameservers: nameservers.clone(), search: Vec::new() },
            None => Resolvers::of_host(),
        }
    }

    /// Of the host: from the first file that names one that is usable in a node.
    pub fn of_host() -> Self {
        FILES
            .iter()
            .filter_map(|file| std::fs::read_to_string(Path::new(file)).ok())
            .map(|text| Resolvers::parse(&text))
            .find(|resolvers| !resolvers.nameservers.is_empty())
            .unwrap_or_default()
    }

    /// Of a text as in `man 5 resolv.conf`. Loopback and link-local addresses mean another machine inside a node and
    /// are left out.
    fn parse(text: &str) -> Self {
        let mut resolvers = Resolvers::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let usable = words.next().and_then(|word| word.parse().ok()).filter(usable);
                    resolvers.nameservers.extend(usable);
                }
                Some("search" | "domain") => resolvers.search = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        resolvers
    }
}

fn usable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        // Nodes have IPv4 only.
        IpAddr::V6(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_resolvers_are_not_for_nodes() {
        let found =
            Resolvers::parse("nameserver 127.0.0.53\nnameserver 10.1.2.3 # office\nsearch a.example b.example\n");
        assert_eq!(found.nameservers, ["10.1.2.3".parse::<IpAddr>().unwrap()]);
        assert_eq!(found.search, ["a.example", "b.example"]);
        assert!(Resolvers::parse("nameserver ::1\nnameserver fe80::1%eth0").nameservers.is_empty());
    }
}
