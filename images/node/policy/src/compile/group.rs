//! The sets of peers. Rules with the same selector share a set, and it exists as long as a rule refers to it.

use std::collections::BTreeMap;

use super::tables::{Element, Kind, Tables};
use crate::objects::{Pod, Protocol};
use crate::policy::Selected;
use crate::world::World;

/// Pods that rules refer to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// The addresses of pods.
    Pods(Selected),
    /// The addresses of pods, each with the number that the name of a port has there.
    Ports(Selected, Protocol, String),
}

impl Group {
    fn kind(&self) -> Kind {
        match self {
            Group::Pods(_) => Kind::Address,
            Group::Ports(..) => Kind::Port,
        }
    }

    /// Returns the elements of one pod.
    fn elements(&self, world: &World, pod: &Pod) -> Vec<Element> {
        let (Group::Pods(selected) | Group::Ports(selected, ..)) = self;
        if pod.deleted || pod.addresses.is_empty() || !world.includes(selected, pod) {
            return Vec::new();
        }
        match self {
            Group::Pods(_) => pod.addresses.iter().copied().map(Element::Address).collect(),
            Group::Ports(_, protocol, name) => {
                let numbers: Vec<u16> = pod.ports_named(*protocol, name).collect();
                let port = |address| numbers.iter().map(move |number| Element::Port(address, *protocol, *number));
                pod.addresses.iter().copied().flat_map(port).collect()
            }
        }
    }
}

/// The groups in use.
#[derive(Default)]
pub(super) struct Groups {
    known: BTreeMap<Group, Known>,
    next: u32,
}

struct Known {
    name: String,
    users: usize,
}

impl Groups {
    /// Returns the name of a group's set.
    pub(super) fn name(&self, group: &Group) -> &str {
        self.known.get(group).map(|known| known.name.as_str()).expect("groups are acquired before rules are written")
    }

    /// Notes another user of a group, whose set is made for the first.
    pub(super) fn acquire(&mut self, group: Group, world: &World, tables: &mut Tables) {
        if let Some(known) = self.known.get_mut(&group) {
            known.users += 1;
            return;
        }
        self.next += 1;
        let name = match group.kind() {
            Kind::Port => format!("ports-{}", self.next),
            _ => format!("pods-{}", self.next),
        };
        tables.add_set(&name, group.kind());
        for pod in world.pods.values() {
            group.elements(world, pod).into_iter().for_each(|element| tables.add_element(&name, element));
        }
        self.known.insert(group, Known { name, users: 1 });
    }

    /// Notes that a user is gone; the set goes with the last.
    pub(super) fn release(&mut self, group: &Group, tables: &mut Tables) {
        let Some(known) = self.known.get_mut(group) else { return };
        known.users -= 1;
        if known.users == 0 {
            tables.remove_set(&known.name);
            self.known.remove(group);
        }
    }

    /// Returns all elements of a pod, each with its set.
    pub(super) fn elements(&self, world: &World, pod: &Pod) -> Vec<(String, Element)> {
        let one = |(group, known): (&Group, &Known)| -> Vec<(String, Element)> {
            group.elements(world, pod).into_iter().map(|element| (known.name.clone(), element)).collect()
        };
        self.known.iter().flat_map(one).collect()
    }
}
