//! Resolver files (resolv.conf(5)), for a host whose resolvers its nodes use and a node whose resolvers its pods use.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::str::SplitWhitespace;

/// The files with resolvers, in order: the usual one, and those with the servers that systemd-resolved and NetworkManager
/// forward to, for a host whose usual file names only their stub on loopback (systemd-resolved.service(8),
/// "/etc/resolv.conf"; NetworkManager.conf(5), "rc-manager").
pub const FILES: [&str; 3] =
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf"];

/// The number of resolvers that are asked: `MAXNS` of resolv.conf(5). The kubelet reports more of them as an error.
pub const MOST_NAMESERVERS: usize = 3;

/// The bounds of search domains. The kubelet reports more than 32, and more than 2048 characters, as an error, and needs
/// some for a pod's own: its namespace (63 characters), `svc`, and the cluster's domain, three times.
const MOST_DOMAINS: usize = 28;
const MOST_CHARACTERS: usize = 1024;

/// Resolvers and search domains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolvers {
    /// Addresses that are reachable from another network namespace.
    pub nameservers: Vec<IpAddr>,
    /// The search domains for short names.
    pub search: Vec<String>,
    /// The options, such as `ndots:1`.
    pub options: Vec<String>,
}

impl Resolvers {
    /// Returns the first of [`FILES`] with a usable resolver, and its content.
    pub fn find() -> Option<(&'static str, Resolvers)> {
        let read = |file| Some((file, Resolvers::parse(&String::from_utf8_lossy(&fs::read(file).ok()?))));
        FILES.into_iter().filter_map(read).find(|(_, found)| !found.nameservers.is_empty())
    }

    /// Reads the text of a resolver file. Loopback and link-local addresses mean another machine in another network
    /// namespace, so they are left out.
    pub fn parse(text: &str) -> Self {
        let mut resolvers = Resolvers::default();
        for mut words in lines(text) {
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse().ok());
                    resolvers.nameservers.extend(address.filter(is_reachable));
                }
                // The last one counts.
                Some("search") => resolvers.search = words.map(str::to_owned).collect(),
                Some("domain") => resolvers.search = words.next().map(str::to_owned).into_iter().collect(),
                Some("options") => resolvers.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        // The root domain, `.`, means no search; as a domain it makes resolvers ask for `name..` (kubernetes#112135).
        resolvers.search = resolvers.search.iter().map(|domain| domain.trim_end_matches('.').to_owned()).collect();
        resolvers.search.retain(|domain| !domain.is_empty());
        keep_first(&mut resolvers.nameservers);
        keep_first(&mut resolvers.search);
        keep_first(&mut resolvers.options);
        resolvers
    }

    /// Returns the text of a resolver file, within the bounds that resolvers and the kubelet have.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for server in self.nameservers.iter().take(MOST_NAMESERVERS) {
            let _ = writeln!(text, "nameserver {server}");
        }
        let mut search = String::new();
        for domain in self.search.iter().take(MOST_DOMAINS) {
            if search.len() + 1 + domain.len() > MOST_CHARACTERS {
                break;
            }
            let _ = write!(search, " {domain}");
        }
        if !search.is_empty() {
            let _ = writeln!(text, "search{search}");
        }
        if !self.options.is_empty() {
            let _ = writeln!(text, "options {}", self.options.join(" "));
        }
        text
    }
}

/// Returns all servers that the text of a resolver file names, even those that only its host reaches.
pub fn named(text: &str) -> Vec<&str> {
    lines(text).filter_map(|mut words| words.next().filter(|word| *word == "nameserver").and(words.next())).collect()
}

/// Returns the words of each line without its comment.
fn lines(text: &str) -> impl Iterator<Item = SplitWhitespace<'_>> {
    text.lines().map(|line| line.split(['#', ';']).next().unwrap_or_default().split_whitespace())
}

/// Removes what occurs a second time.
fn keep_first<T: Clone + PartialEq>(list: &mut Vec<T>) {
    let all = std::mem::take(list);
    for item in all {
        if !list.contains(&item) {
            list.push(item);
        }
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
    fn the_root_domain_is_no_search_domain() {
        assert!(Resolvers::parse("search .\n").search.is_empty());
        assert_eq!(Resolvers::parse("search . lab.example. lab.example\n").search, ["lab.example"]);
    }

    #[test]
    fn a_file_within_the_bounds_of_resolvers() {
        let servers = "nameserver 10.0.0.1\nnameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n";
        let text = format!("{servers}nameserver 10.0.0.4\noptions edns0 trust-ad\noptions ndots:1 edns0\nsearch .\n");
        let parsed = Resolvers::parse(&text);
        assert_eq!(parsed.nameservers.len(), 4);
        let wanted = "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\noptions edns0 trust-ad ndots:1\n";
        assert_eq!(parsed.text(), wanted);
        let many = (0..40).map(|number| format!("d{number}.example")).collect::<Vec<_>>();
        let text = Resolvers { search: many, ..Resolvers::default() }.text();
        assert_eq!(text.split_whitespace().count(), 1 + MOST_DOMAINS);
        let long = Resolvers { search: vec!["a".repeat(600), "b".repeat(600)], ..Resolvers::default() };
        assert_eq!(long.text(), format!("search {}\n", "a".repeat(600)));
    }

    #[test]
    fn other_lines_are_ignored() {
        assert_eq!(
            Resolvers::parse("sortlist 10.0.0.0\nnameserver\nnameserver dns.example\nnameservers 10.0.0.1\n"),
            Resolvers::default()
        );
    }
}
