//! The table in the kernel as it is to be, and the transactions of `nft` that lead there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::net::IpAddr;

use crate::objects::Protocol;
use crate::policy::{DIRECTIONS, Direction};

/// The name of the table, of the family inet.
pub const TABLE: &str = "kcl-policy";

/// The set of pairs of the same address: packets of isolated pods to themselves.
pub(super) const ITSELF: &str = "itself";

/// The kind of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The elements are addresses.
    Address,
    /// Addresses with ports.
    Port,
    /// Pairs of the same address.
    Itself,
}

impl Kind {
    fn type_of(self, family: Family) -> String {
        let address = family.address_type();
        match self {
            Kind::Address => address.to_owned(),
            Kind::Port => format!("{address} . inet_proto . inet_service"),
            Kind::Itself => format!("{address} . {address}"),
        }
    }
}

/// An element of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Element {
    /// The address of a pod.
    Address(IpAddr),
    /// A port of a pod.
    Port(IpAddr, Protocol, u16),
    /// The address of a pod as source and destination.
    Itself(IpAddr),
}

impl Element {
    fn family(&self) -> Family {
        let (Element::Address(address) | Element::Port(address, ..) | Element::Itself(address)) = self;
        Family::of(*address)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Address(address) => write!(f, "{address}"),
            Element::Port(address, protocol, number) => write!(f, "{address} . {protocol} . {number}"),
            Element::Itself(address) => write!(f, "{address} . {address}"),
        }
    }
}

/// A family of addresses. A set of nftables has addresses of one family, so each of ours is two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// The family IPv4.
    V4,
    /// The family IPv6.
    V6,
}

/// The two families.
pub(super) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

impl Family {
    /// Returns the family of an address.
    pub(super) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// Returns the keyword of the family's header in rules.
    pub(super) fn header(self) -> &'static str {
        match self {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        }
    }

    /// Returns the name of the part of a set that has the family's addresses.
    pub(super) fn part(self, set: &str) -> String {
        match self {
            Family::V4 => format!("{set}-4"),
            Family::V6 => format!("{set}-6"),
        }
    }

    fn address_type(self) -> &'static str {
        match self {
            Family::V4 => "ipv4_addr",
            Family::V6 => "ipv6_addr",
        }
    }
}

/// The contents of the table, and what of it was there before the next transaction.
#[derive(Default)]
pub(super) struct Tables {
    sets: BTreeMap<String, Set>,
    chains: BTreeMap<String, Vec<String>>,
    verdicts: BTreeMap<(Direction, IpAddr), String>,
    before: Before,
}

struct Set {
    kind: Kind,
    /// The elements, each with the number of pods that it belongs to: a pod may have the address of one that is
    /// going.
    elements: BTreeMap<Element, usize>,
}

/// The state of all that has changed since the last transaction, as it was then.
#[derive(Default)]
struct Before {
    sets: BTreeMap<String, bool>,
    chains: BTreeMap<String, bool>,
    elements: BTreeMap<(String, Element), bool>,
    verdicts: BTreeMap<(Direction, IpAddr), Option<String>>,
}

impl Tables {
    /// Adds an empty set.
    pub(super) fn add_set(&mut self, name: &str, kind: Kind) {
        self.before.sets.entry(name.to_owned()).or_insert(false);
        self.sets.insert(name.to_owned(), Set { kind, elements: BTreeMap::new() });
    }

    /// Removes a set with its elements.
    pub(super) fn remove_set(&mut self, name: &str) {
        self.before.sets.entry(name.to_owned()).or_insert(true);
        self.sets.remove(name);
    }

    /// Adds an element to a set.
    pub(super) fn add_element(&mut self, set: &str, element: Element) {
        if set == ITSELF && !self.sets.contains_key(ITSELF) {
            self.sets.insert(ITSELF.to_owned(), Set { kind: Kind::Itself, elements: BTreeMap::new() });
        }
        let Some(found) = self.sets.get_mut(set) else { return };
        let count = found.elements.entry(element).or_insert(0);
        *count += 1;
        if *count == 1 {
            self.before.elements.entry((set.to_owned(), element)).or_insert(false);
        }
    }

    /// Removes an element from a set, once for each time that it was added.
    pub(super) fn remove_element(&mut self, set: &str, element: &Element) {
        let Some(found) = self.sets.get_mut(set) else { return };
        let Some(count) = found.elements.get_mut(element) else { return };
        *count -= 1;
        if *count == 0 {
            found.elements.remove(element);
            self.before.elements.entry((set.to_owned(), *element)).or_insert(true);
        }
    }

    /// Adds a chain. Its name has not been used before.
    pub(super) fn add_chain(&mut self, name: &str, rules: Vec<String>) {
        self.before.chains.entry(name.to_owned()).or_insert(false);
        self.chains.insert(name.to_owned(), rules);
    }

    /// Removes a chain.
    pub(super) fn remove_chain(&mut self, name: &str) {
        self.before.chains.entry(name.to_owned()).or_insert(true);
        self.chains.remove(name);
    }

    /// Leads packets of an address in a direction to a chain.
    pub(super) fn add_verdict(&mut self, direction: Direction, address: IpAddr, chain: &str) {
        let old = self.verdicts.insert((direction, address), chain.to_owned());
        self.before.verdicts.entry((direction, address)).or_insert(old);
    }

    /// Removes the way to a chain, unless the address leads to another one by now.
    pub(super) fn remove_verdict(&mut self, direction: Direction, address: IpAddr, chain: &str) {
        if self.verdicts.get(&(direction, address)).is_some_and(|now| now == chain) {
            let old = self.verdicts.remove(&(direction, address));
            self.before.verdicts.entry((direction, address)).or_insert(old);
        }
    }

    /// Returns the transaction that replaces the table.
    pub(super) fn replace(&mut self) -> String {
        let all = Before {
            sets: self.sets.keys().filter(|name| *name != ITSELF).map(|name| (name.clone(), false)).collect(),
            chains: self.chains.keys().map(|name| (name.clone(), false)).collect(),
            elements: (self.sets.iter())
                .flat_map(|(name, set)| set.elements.keys().map(|element| ((name.clone(), *element), false)))
                .collect(),
            verdicts: self.verdicts.keys().map(|place| (*place, None)).collect(),
        };
        self.before = Before::default();
        // The first line makes the second one valid if there is no table yet.
        format!("table inet {TABLE}\ndelete table inet {TABLE}\n{}{}", frame(), self.changes(&all))
    }

    /// Returns the transaction with all changes since the last one; `None` if there are none.
    pub(super) fn update(&mut self) -> Option<String> {
        let before = std::mem::take(&mut self.before);
        Some(self.changes(&before)).filter(|text| !text.is_empty())
    }

    fn changes(&self, before: &Before) -> String {
        let mut text = String::new();
        self.add_sets_and_chains(before, &mut text);
        self.change_elements(before, &mut text);
        self.change_verdicts(before, &mut text);
        self.remove_sets_and_chains(before, &mut text);
        text
    }

    fn add_sets_and_chains(&self, before: &Before, text: &mut String) {
        for (name, set) in self.sets.iter().filter(|(name, _)| before.sets.get(*name) == Some(&false)) {
            for family in FAMILIES {
                let (part, kind) = (family.part(name), set.kind.type_of(family));
                let _ = writeln!(text, "add set inet {TABLE} {part} {{ type {kind}; }}");
            }
        }
        let fresh = || self.chains.iter().filter(|(name, _)| before.chains.get(*name) == Some(&false));
        for (name, _) in fresh() {
            let _ = writeln!(text, "add chain inet {TABLE} {name}");
        }
        for (name, rules) in fresh() {
            for rule in rules {
                let _ = writeln!(text, "add rule inet {TABLE} {name} {rule}");
            }
        }
    }

    fn change_elements(&self, before: &Before, text: &mut String) {
        let (mut gone, mut fresh) = (BTreeMap::new(), BTreeMap::new());
        for ((name, element), was) in &before.elements {
            // Those of a set that is gone or new go and come with it.
            let Some(set) = self.sets.get(name) else { continue };
            let is = set.elements.contains_key(element);
            if is != *was {
                let part = element.family().part(name);
                let list: &mut Vec<String> = if is { &mut fresh } else { &mut gone }.entry(part).or_default();
                list.push(element.to_string());
            }
        }
        write_elements(text, "delete", &gone);
        write_elements(text, "add", &fresh);
    }

    fn change_verdicts(&self, before: &Before, text: &mut String) {
        let (mut gone, mut fresh) = (BTreeMap::new(), BTreeMap::new());
        for (place, was) in &before.verdicts {
            let is = self.verdicts.get(place);
            if is == was.as_ref() {
                continue;
            }
            let (direction, address) = place;
            let map = Family::of(*address).part(direction.name());
            if was.is_some() {
                gone.entry(map.clone()).or_insert_with(Vec::new).push(address.to_string());
            }
            if let Some(chain) = is {
                fresh.entry(map).or_insert_with(Vec::new).push(format!("{address} : jump {chain}"));
            }
        }
        write_elements(text, "delete", &gone);
        write_elements(text, "add", &fresh);
    }

    fn remove_sets_and_chains(&self, before: &Before, text: &mut String) {
        let gone: BTreeSet<&String> = (before.chains.iter())
            .filter(|(name, was)| **was && !self.chains.contains_key(*name))
            .map(|(name, _)| name)
            .collect();
        // They refer to each other until they are empty.
        for name in &gone {
            let _ = writeln!(text, "flush chain inet {TABLE} {name}");
        }
        for name in &gone {
            let _ = writeln!(text, "delete chain inet {TABLE} {name}");
        }
        for (name, _) in before.sets.iter().filter(|(name, was)| **was && !self.sets.contains_key(*name)) {
            for family in FAMILIES {
                let _ = writeln!(text, "delete set inet {TABLE} {}", family.part(name));
            }
        }
    }
}

fn write_elements(text: &mut String, action: &str, elements: &BTreeMap<String, Vec<String>>) {
    for (set, elements) in elements {
        let _ = writeln!(text, "{action} element inet {TABLE} {set} {{ {} }}", elements.join(", "));
    }
}

/// Returns the parts of the table that always are the same.
///
/// Packets have the addresses of pods there: those to a Service have been led to a pod, and none has been masqueraded yet.
/// Packets of a node to its own pods, such as probes, are not forwarded and pass. Of an established connection only the
/// answers pass unseen, so a policy that comes later ends it. An accepted packet leaves a hook, so that each direction has
/// its own.
fn frame() -> String {
    let mut text = format!("table inet {TABLE} {{\n");
    for direction in DIRECTIONS {
        for family in FAMILIES {
            let (map, kind) = (family.part(direction.name()), family.address_type());
            let _ = writeln!(text, "\tmap {map} {{ type {kind} : verdict; }}");
        }
    }
    for family in FAMILIES {
        let (set, kind) = (family.part(ITSELF), Kind::Itself.type_of(family));
        let _ = writeln!(text, "\tset {set} {{ type {kind}; }}");
    }
    for (direction, priority, own) in [(Direction::Egress, 0, "saddr"), (Direction::Ingress, 1, "daddr")] {
        let name = direction.name();
        let _ = write!(
            text,
            "\tchain {name} {{\n\
             \t\ttype filter hook forward priority {priority}; policy accept;\n\
             \t\tct state established ct direction reply accept\n\
             \t\tct state related accept\n"
        );
        for family in FAMILIES {
            let _ = writeln!(text, "\t\t{} {own} vmap @{}", family.header(), family.part(name));
        }
        text.push_str("\t}\n");
    }
    text + "}\n"
}
