//! The part of nftables that the transactions use, for tests: it refuses what the kernel refuses, and decides about packets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::objects::Protocol;

/// A packet that begins a connection.
pub(super) struct Packet {
    pub from: IpAddr,
    pub to: IpAddr,
    pub protocol: Protocol,
    pub port: u16,
}

/// The table of the engine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kernel {
    sets: BTreeMap<String, BTreeSet<String>>,
    maps: BTreeMap<String, BTreeMap<String, String>>,
    chains: BTreeMap<String, Vec<String>>,
}

impl Kernel {
    /// Applies a transaction.
    pub(super) fn apply(&mut self, transaction: &str) {
        let mut lines = transaction.lines().map(str::trim);
        while let Some(line) = lines.next() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["delete", "table", ..] => *self = Kernel::default(),
                ["table", _, _] | ["}"] => {}
                ["table", _, _, "{"] => {}
                ["map", name, ..] => drop(self.maps.insert(name.to_owned(), BTreeMap::new())),
                ["set", name, ..] => drop(self.sets.insert(name.to_owned(), BTreeSet::new())),
                // The hooks, which the test knows.
                ["chain", _, "{"] => lines.by_ref().take_while(|line| *line != "}").for_each(drop),
                ["add", "set", _, _, name, ..] => {
                    assert!(self.sets.insert(name.to_owned(), BTreeSet::new()).is_none(), "{line}: exists");
                }
                ["add", "chain", _, _, name] => {
                    assert!(self.chains.insert(name.to_owned(), Vec::new()).is_none(), "{line}: exists");
                }
                ["add", "rule", _, _, name, ..] => {
                    self.check_references(line);
                    self.chains.get_mut(name).expect(line).push(words[5..].join(" "));
                }
                ["flush", "chain", _, _, name] => self.chains.get_mut(name).expect(line).clear(),
                ["delete", "chain", _, _, name] => {
                    assert!(
                        self.chains.remove(name).is_some_and(|rules| rules.is_empty()),
                        "{line}: missing or in use"
                    );
                    let jump = format!("jump {name}");
                    let rules = self.chains.values().flatten().chain(self.maps.values().flat_map(BTreeMap::values));
                    assert!(rules.into_iter().all(|rule| *rule != jump), "{line}: in use");
                }
                ["delete", "set", _, _, name] => {
                    assert!(self.sets.remove(name).is_some(), "{line}: missing");
                    let reference = format!("@{name} ");
                    assert!(self.chains.values().flatten().all(|rule| !rule.contains(&reference)), "{line}: in use");
                }
                [action, "element", _, _, name, ..] => self.change(action, name, elements(line), line),
                _ => panic!("{line}"),
            }
        }
    }

    fn change(&mut self, action: &str, name: &str, elements: Vec<&str>, line: &str) {
        for element in elements {
            let done = match (self.maps.get_mut(name), action) {
                (Some(map), "add") => {
                    let (key, verdict) = element.split_once(" : ").expect(line);
                    let chain = verdict.strip_prefix("jump ").expect(line);
                    assert!(self.chains.contains_key(chain), "{line}: no chain");
                    map.insert(key.to_owned(), verdict.to_owned()).is_none()
                }
                (Some(map), _) => map.remove(element).is_some(),
                (None, "add") => self.sets.get_mut(name).expect(line).insert(element.to_owned()),
                (None, _) => self.sets.get_mut(name).expect(line).remove(element),
            };
            assert!(done, "{line}: {element}");
        }
    }

    fn check_references(&self, line: &str) {
        for word in line.split(' ') {
            assert!(word.strip_prefix('@').is_none_or(|set| self.sets.contains_key(set)), "{line}: no set");
        }
        if let Some((_, chain)) = line.split_once(" jump ") {
            assert!(self.chains.contains_key(chain), "{line}: no chain");
        }
    }

    /// Returns true if both hooks let the packet pass.
    pub(super) fn passes(&self, packet: &Packet) -> bool {
        [("egress-4", packet.from), ("ingress-4", packet.to)].iter().all(|(map, own)| {
            let verdict = self.maps[*map].get(&own.to_string());
            verdict.is_none_or(|verdict| self.run(&verdict["jump ".len()..], packet) != Some(false))
        })
    }

    fn run(&self, chain: &str, packet: &Packet) -> Option<bool> {
        self.chains[chain].iter().find_map(|rule| match rule.split_once(' ') {
            Some(("jump", other)) => self.run(other, packet),
            None if rule == "drop" => Some(false),
            _ => self.matches(rule.strip_suffix("accept").expect(rule).trim(), packet).then_some(true),
        })
    }

    fn matches(&self, conditions: &str, packet: &Packet) -> bool {
        let mut rest = conditions.strip_prefix("meta nfproto ipv4").unwrap_or(conditions).trim();
        while !rest.is_empty() {
            let (fields, list) = rest.split_once(['@', '{']).unwrap_or((rest, ""));
            let in_set = rest[fields.len()..].starts_with('@');
            let end = if in_set { list.find(' ').unwrap_or(list.len()) } else { list.find('}').map_or(0, |at| at + 1) };
            let value = match fields.trim() {
                fields if fields.contains("ip6") || fields.contains("ipv6") => return false,
                "ip saddr . ip daddr" => format!("{} . {}", packet.from, packet.to),
                "ip saddr" => packet.from.to_string(),
                "ip daddr" => packet.to.to_string(),
                "meta l4proto . th dport" => format!("{} . {}", packet.protocol, packet.port),
                "ip daddr . meta l4proto . th dport" => {
                    format!("{} . {} . {}", packet.to, packet.protocol, packet.port)
                }
                other => panic!("{other:?} in {conditions}"),
            };
            let found = if in_set {
                self.sets[&list[..end]].contains(&value)
            } else {
                list[..end - 1].split(',').any(|element| is_in(element.trim(), &value))
            };
            if !found {
                return false;
            }
            rest = list[end..].trim();
        }
        true
    }
}

fn elements(line: &str) -> Vec<&str> {
    let (_, list) = line.split_once('{').expect(line);
    list.trim_end_matches('}').split(',').map(str::trim).collect()
}

/// Returns true if an element of an anonymous set, a network or a range of ports, includes the value.
fn is_in(element: &str, value: &str) -> bool {
    if let Ok(net) = element.parse::<IpNet>() {
        return net.contains(&value.parse::<IpAddr>().expect("an address"));
    }
    let ((protocol, ports), (own, port)) = (element.split_once(" . ").unwrap(), value.split_once(" . ").unwrap());
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| text.parse::<u16>().expect("a port");
    protocol == own && (number(first)..=number(last)).contains(&number(port))
}
