//! The rules of a policy's chain. Each rule of the policy becomes a rule of nftables for each of its peers; what none
//! accepts goes on to the next policy of the pod.

use ipnet::IpNet;

use super::group::{Group, Groups};
use super::tables::{FAMILIES, Family};
use crate::objects::{Key, Protocol};
use crate::policy::{DIRECTIONS, Direction, Namespaces, Peer, Policy, Port, Rule, Selected};

/// The longest part of a policy's name in a chain's. The kernel's limit for all of it is 255 bytes.
const LONGEST: usize = 160;

/// Returns the name of a policy's chain, by which people recognize it.
pub(super) fn chain_name(direction: Direction, number: u32, policy: &Key) -> String {
    let mut policy = policy.to_string();
    policy.truncate(LONGEST);
    format!("{}-{number}-{policy}", direction.name())
}

/// Returns the groups that the rules of a policy refer to, as often as they do.
pub(super) fn groups(policy: &Policy) -> Vec<Group> {
    DIRECTIONS.iter().flat_map(|direction| groups_of(policy, *direction)).collect()
}

/// Returns the groups of one direction.
pub(super) fn groups_of(policy: &Policy, direction: Direction) -> Vec<Group> {
    let rules = policy.rules(direction).into_iter().flatten();
    rules.flat_map(|rule| matches(rule, policy, direction)).flat_map(|one| one.groups()).collect()
}

/// Returns the lines of a rule.
pub(super) fn lines(rule: &Rule, policy: &Policy, direction: Direction, groups: &Groups) -> Vec<String> {
    matches(rule, policy, direction).iter().flat_map(|one| one.lines(direction, groups)).collect()
}

/// A peer together with ports: all that one line matches, or one for each family.
struct Match {
    peer: PeerMatch,
    port: PortMatch,
}

#[derive(Clone)]
enum PeerMatch {
    Any,
    Pods(Group),
    Block(Vec<IpNet>),
}

#[derive(Clone)]
enum PortMatch {
    Any,
    /// The ports of a protocol from a number to another.
    Ranges(Vec<(Protocol, u16, u16)>),
    Named(Group),
}

/// Returns the combinations of a rule's peers and ports.
fn matches(rule: &Rule, policy: &Policy, direction: Direction) -> Vec<Match> {
    let mut peers = Vec::new();
    let mut nets = Vec::new();
    for peer in rule.peers.iter().flatten() {
        match peer {
            Peer::Pods(selected) => peers.push((PeerMatch::Pods(Group::Pods(selected.clone())), Some(selected))),
            Peer::Block(block) => nets.extend(block.iter().copied()),
        }
    }
    if !nets.is_empty() {
        peers.push((PeerMatch::Block(IpNet::aggregate(&nets)), None));
    }
    if rule.peers.is_none() {
        peers.push((PeerMatch::Any, None));
    }
    let own = Selected { namespaces: Namespaces::Named(policy.key.namespace.clone()), pods: policy.selector.clone() };
    let mut all = Vec::new();
    for (peer, selected) in peers {
        let Some(ports) = &rule.ports else {
            all.push(Match { peer, port: PortMatch::Any });
            continue;
        };
        let ranges = merged(ports);
        if !ranges.is_empty() {
            all.push(Match { peer: peer.clone(), port: PortMatch::Ranges(ranges) });
        }
        for port in ports {
            let Port::Named(protocol, name) = port else { continue };
            // The destination of the connection gives its ports their names: the selected pods, or the peer.
            let (peer, destination) = match (direction, selected) {
                (Direction::Ingress, _) => (peer.clone(), own.clone()),
                // The set of the ports has no pods but the peer's.
                (Direction::Egress, Some(selected)) => (PeerMatch::Any, selected.clone()),
                (Direction::Egress, None) => (peer.clone(), Selected::all()),
            };
            all.push(Match { peer, port: PortMatch::Named(Group::Ports(destination, *protocol, name.clone())) });
        }
    }
    all
}

/// Returns the numbered ports as ranges that do not overlap, which the kernel would refuse.
fn merged(ports: &[Port]) -> Vec<(Protocol, u16, u16)> {
    let mut ranges: Vec<(Protocol, u16, u16)> = ports
        .iter()
        .filter_map(|port| match port {
            Port::Range(protocol, first, last) => Some((*protocol, *first, *last)),
            Port::Named(..) => None,
        })
        .collect();
    ranges.sort_unstable();
    let mut merged: Vec<(Protocol, u16, u16)> = Vec::new();
    for (protocol, first, last) in ranges {
        match merged.last_mut() {
            Some((same, _, end)) if *same == protocol && u32::from(first) <= u32::from(*end) + 1 => {
                *end = last.max(*end);
            }
            _ => merged.push((protocol, first, last)),
        }
    }
    merged
}

impl Match {
    fn groups(&self) -> Vec<Group> {
        let peer = match &self.peer {
            PeerMatch::Pods(group) => Some(group.clone()),
            PeerMatch::Any | PeerMatch::Block(_) => None,
        };
        let port = match &self.port {
            PortMatch::Named(group) => Some(group.clone()),
            PortMatch::Any | PortMatch::Ranges(_) => None,
        };
        peer.into_iter().chain(port).collect()
    }

    fn lines(&self, direction: Direction, groups: &Groups) -> Vec<String> {
        let one_for_both = matches!(self.peer, PeerMatch::Any) && !matches!(self.port, PortMatch::Named(_));
        let families = if one_for_both { &FAMILIES[..1] } else { &FAMILIES };
        let line = |family: &Family| {
            let peer = self.peer(direction, *family, groups)?;
            let words = [peer, self.port(*family, groups), "accept".to_owned()];
            Some(words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
        };
        families.iter().filter_map(line).collect()
    }

    /// Returns the condition about the peer, or `None` if it has no addresses of this family.
    fn peer(&self, direction: Direction, family: Family, groups: &Groups) -> Option<String> {
        let header = family.header();
        let field = match direction {
            Direction::Ingress => "saddr",
            Direction::Egress => "daddr",
        };
        match &self.peer {
            PeerMatch::Any => Some(String::new()),
            PeerMatch::Pods(group) => Some(format!("{header} {field} @{}", family.part(groups.name(group)))),
            PeerMatch::Block(nets) => {
                let own: Vec<&IpNet> = nets.iter().filter(|net| Family::of(net.addr()) == family).collect();
                match own.as_slice() {
                    [] => None,
                    // A set cannot hold everything.
                    [all] if all.prefix_len() == 0 => Some(match family {
                        Family::V4 => "meta nfproto ipv4".to_owned(),
                        Family::V6 => "meta nfproto ipv6".to_owned(),
                    }),
                    own => {
                        let list: Vec<String> = own.iter().map(ToString::to_string).collect();
                        Some(format!("{header} {field} {{ {} }}", list.join(", ")))
                    }
                }
            }
        }
    }

    fn port(&self, family: Family, groups: &Groups) -> String {
        match &self.port {
            PortMatch::Any => String::new(),
            PortMatch::Ranges(ranges) => {
                let range = |(protocol, first, last): &(Protocol, u16, u16)| {
                    if first == last { format!("{protocol} . {first}") } else { format!("{protocol} . {first}-{last}") }
                };
                let list: Vec<String> = ranges.iter().map(range).collect();
                format!("meta l4proto . th dport {{ {} }}", list.join(", "))
            }
            PortMatch::Named(group) => {
                let (header, set) = (family.header(), family.part(groups.name(group)));
                format!("{header} daddr . meta l4proto . th dport @{set}")
            }
        }
    }
}
