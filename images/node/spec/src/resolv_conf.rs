//! Resolver files (resolv.conf(5)), for a host whose resolvers its nodes use and a node whose resolvers its pods use.

use std::fs;
use std::net::IpAddr;

/// The files with resolvers, in order: the usual one, and the one with the servers that systemd-resolved forwards to,
/// for a host whose usual file names only its stub on loopback (systemd-resolved.service(8), "/etc/resolv.conf").
pub const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// Resolvers and search domains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolvers {
    /// Addresses that are reachable from another network namespace.
    pub nameservers: Vec<IpAddr>,
    /// The search domains for short names.
    pub search: Vec<String>,
}

impl Resolvers {
    /// Returns the first of [`FILES`] with a usable resolver, and its content.
    pub fn find() -> Option<(&'static str, Resolvers)> {
        let read = |file| Some((file, Resolvers::parse(&fs::read_to_string(file).ok()?)));
        FILES.into_iter().filter_map(read).find(|(_, found)| !found.nameservers.is_empty())
    }

    /// Reads the text of a resolver file. Loopback and link-local addresses mean another machine in another network
    /// namespace, so they are left out.
    pub fn parse(text: &str) -> Self {
        let mut resolvers = Resolvers::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse().ok());
                    resolvers.nameservers.extend(address.filter(is_reachable));
                }
                // The last one counts.
                Some("search") => resolvers.search = words.map(str::to_owned).collect(),
                Some("domain") => resolvers.search = words.next().map(str::to_owned).into_iter().collect(),
                _ => {}
            }
        }
        resolvers
    }
}

fn is_reachable(address: &IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !address.is_loopback() && !address.is_unspecified() && !is_link_local
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nameservers(text: &str) -> Vec<String> {
        Resolvers::parse(text).nameservers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn several_resolvers_keep_their_order() {
        assert_eq!(nameservers("nameserver 10.1.2.3\n\tnameserver  2001:db8::53\r\n"), ["10.1.2.3", "2001:db8::53"]);
    }

    #[test]
    fn comments_are_skipped() {
        let text = "# nameserver 10.0.0.1\n; nameserver 10.0.0.2\nnameserver 10.0.0.3 # office\nsearch a.example ; b\n";
        assert_eq!(nameservers(text), ["10.0.0.3"]);
        assert_eq!(Resolvers::parse(text).search, ["a.example"]);
    }

    #[test]
    fn the_last_search_list_counts() {
        assert_eq!(Resolvers::parse("search a.example b.example\n").search, ["a.example", "b.example"]);
        assert_eq!(
            Resolvers::parse("domain a.example\nsearch b.example c.example\n").search,
            ["b.example", "c.example"]
        );
        assert_eq!(Resolvers::parse("search b.example\ndomain a.example extra\n").search, ["a.example"]);
    }

    #[test]
    fn loopback_and_link_local_resolvers_are_left_out() {
        let text = "nameserver 127.0.0.53\nnameserver 169.254.169.253\nnameserver 0.0.0.0\nnameserver 10.1.2.3\n";
        assert_eq!(nameservers(text), ["10.1.2.3"]);
        assert!(nameservers("nameserver ::1\nnameserver fe80::1%eth0\nnameserver fe80::1\nnameserver ::\n").is_empty());
    }

    #[test]
    fn other_lines_are_ignored() {
        assert_eq!(
            Resolvers::parse("options edns0\nnameserver\nnameserver dns.example\nnameservers 10.0.0.1\n"),
            Resolvers::default()
        );
    }
}
