//! Compiles policies to packet rules of nftables, for the pods of one node.
//!
//! A packet's way through the rules does not depend on the number of pods: a map leads from a pod's address to the chain
//! of the policies that isolate it, one for all pods with the same policies, and rules ask whether the peer is in a set.
//! A change of a pod changes elements of maps and sets; a change of a policy replaces its chain.

mod group;
mod isolation;
#[cfg(test)]
mod kernel;
mod rules;
mod tables;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::objects::{Key, Labels, Pod};
use crate::policy::{DIRECTIONS, Direction, Policy};
use crate::world::World;
use group::Groups;
use isolation::Isolations;
pub use tables::TABLE;
use tables::{Element, Tables};

/// The address that the container network gave to a pod of this node, before the API knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The id of the pod's sandbox, as a pod may get another.
    pub sandbox: String,
    /// The kubelet's id of the pod; none if the container runtime did not pass it.
    pub uid: Option<String>,
    /// The addresses of the sandbox.
    pub addresses: Vec<IpAddr>,
}

impl Claim {
    fn is_of(&self, pod: &Pod) -> bool {
        self.uid.as_ref().is_none_or(|uid| pod.uids.contains(uid))
    }
}

/// The policies of a cluster as the rules of one node.
pub struct Compiler {
    node: String,
    world: World,
    claims: BTreeMap<Key, Claim>,
    groups: Groups,
    /// The chains of the policies.
    chains: BTreeMap<(Key, Direction), String>,
    isolations: Isolations,
    tables: Tables,
    /// The number of the next chain: a name is used once, so chains never change.
    next: u32,
}

impl Compiler {
    /// Returns a compiler for the pods of a node that knows no objects yet.
    pub fn new(node: &str) -> Self {
        Compiler {
            node: node.to_owned(),
            world: World::default(),
            claims: BTreeMap::new(),
            groups: Groups::default(),
            chains: BTreeMap::new(),
            isolations: Isolations::default(),
            tables: Tables::default(),
            next: 1,
        }
    }

    /// Returns the objects as they are known.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Sets the labels of a namespace; `None` if it is gone.
    pub fn set_namespace(&mut self, name: &str, labels: Option<Labels>) {
        if self.world.namespaces.get(name) == labels.as_ref() {
            return;
        }
        let pods = self.pods_in(name);
        let before: Vec<_> = pods.iter().flat_map(|key| self.elements(key)).collect();
        match labels {
            Some(labels) => self.world.namespaces.insert(name.to_owned(), labels),
            None => self.world.namespaces.remove(name),
        };
        let after: Vec<_> = pods.iter().flat_map(|key| self.elements(key)).collect();
        self.exchange(before, after);
    }

    /// Sets a pod; `None` if it is gone. The rules for a pod of this node stay until its network is gone too.
    pub fn set_pod(&mut self, key: &Key, pod: Option<Pod>) {
        let mut pod = match pod {
            Some(pod) => pod,
            None if self.claims.contains_key(key) => match self.world.pods.get(key) {
                Some(pod) => Pod { deleted: true, ..pod.clone() },
                None => return,
            },
            None => return self.replace_pod(key, None),
        };
        if pod.node == self.node && !pod.ended && !pod.host_network {
            self.take_over_addresses(&mut pod);
        }
        self.replace_pod(key, Some(pod));
    }

    /// Sets the addresses of the pod to those that the container network gave to it, and not to another pod: the API
    /// learns of them later.
    fn take_over_addresses(&self, pod: &mut Pod) {
        match self.claims.get(&pod.key).filter(|claim| claim.is_of(pod)) {
            Some(claim) => pod.addresses.clone_from(&claim.addresses),
            None => pod.addresses.retain(|address| !self.claims.values().any(|one| one.addresses.contains(address))),
        }
    }

    fn replace_pod(&mut self, key: &Key, pod: Option<Pod>) {
        if self.world.pods.get(key) == pod.as_ref() {
            return;
        }
        let before = self.elements(key);
        match pod {
            Some(pod) => self.world.pods.insert(key.clone(), pod),
            None => self.world.pods.remove(key),
        };
        let after = self.elements(key);
        self.exchange(before, after);
        self.isolate(key);
    }

    /// Notes the addresses that the container network gave to a pod of this node.
    pub fn claim(&mut self, key: &Key, claim: Claim) {
        let other = |(other, old): (&Key, &Claim)| {
            let same = old.addresses.iter().any(|address| claim.addresses.contains(address));
            (same && other != key).then(|| other.clone())
        };
        // An address is given again only after it was returned, so the message about that was lost.
        let stale: Vec<Key> = self.claims.iter().filter_map(other).collect();
        stale.iter().for_each(|key| self.forget(key));
        let addresses = claim.addresses.clone();
        self.claims.insert(key.clone(), claim);
        let holders = self.world.pods.values().filter(|pod| pod.addresses.iter().any(|one| addresses.contains(one)));
        let affected: Vec<Key> = holders.map(|pod| pod.key.clone()).chain([key.clone()]).collect();
        for key in affected {
            let pod = self.world.pods.get(&key).cloned();
            if let Some(pod) = pod {
                self.set_pod(&key, Some(pod));
            }
        }
    }

    /// Returns true if the rules of a claim are complete: the pod that it is of is known.
    pub fn is_known(&self, key: &Key) -> bool {
        let claim = self.claims.get(key);
        claim.zip(self.world.pods.get(key)).is_some_and(|(claim, pod)| claim.is_of(pod) && !pod.deleted)
    }

    /// Notes that the network of a sandbox is gone. The claim of a later sandbox of the pod stays.
    pub fn release(&mut self, key: &Key, sandbox: &str) {
        if self.claims.get(key).is_some_and(|claim| claim.sandbox == sandbox) {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: &Key) {
        let claim = self.claims.remove(key);
        let Some(pod) = self.world.pods.get(key) else { return };
        let is_of = claim.is_some_and(|claim| claim.is_of(pod));
        if pod.deleted {
            self.replace_pod(key, None);
        } else if is_of {
            let pod = Pod { addresses: Vec::new(), ..pod.clone() };
            self.replace_pod(key, Some(pod));
        }
    }

    /// Forgets the claims of pods that are gone, but those of `new` ones. For the beginning: an engine that did not run has
    /// missed messages.
    pub fn forget_unknown(&mut self, new: &[&Key]) -> Vec<Claim> {
        let unknown = self.claims.keys().filter(|key| !new.contains(key) && !self.is_known(key));
        let unknown: Vec<Key> = unknown.cloned().collect();
        unknown.iter().filter_map(|key| self.claims.remove(key)).collect()
    }

    /// Sets a policy; `None` if it is gone.
    pub fn set_policy(&mut self, key: &Key, policy: Option<Policy>) {
        if self.world.policies.get(key) == policy.as_ref() {
            return;
        }
        let former: Vec<String> =
            DIRECTIONS.iter().filter_map(|direction| self.chains.remove(&(key.clone(), *direction))).collect();
        let before = match policy {
            Some(policy) => {
                for direction in DIRECTIONS {
                    self.add_chain(&policy, direction);
                }
                self.world.policies.insert(key.clone(), policy)
            }
            None => self.world.policies.remove(key),
        };
        for pod in self.pods_in(&key.namespace) {
            self.isolate(&pod);
        }
        for chain in former {
            self.tables.remove_chain(&chain);
        }
        for group in before.iter().flat_map(rules::groups) {
            self.groups.release(&group, &mut self.tables);
        }
    }

    fn add_chain(&mut self, policy: &Policy, direction: Direction) {
        let Some(rules) = policy.rules(direction) else { return };
        for group in rules::groups_of(policy, direction) {
            self.groups.acquire(group, &self.world, &mut self.tables);
        }
        let lines = rules.iter().flat_map(|rule| rules::lines(rule, policy, direction, &self.groups)).collect();
        let name = rules::chain_name(direction, self.next, &policy.key);
        self.next += 1;
        self.tables.add_chain(&name, lines);
        self.chains.insert((policy.key.clone(), direction), name);
    }

    /// Leads the packets of a pod of this node to the chains of the policies that isolate it.
    fn isolate(&mut self, key: &Key) {
        let pod = self.world.pods.get(key).filter(|pod| pod.node == self.node && !pod.addresses.is_empty());
        let mut wanted = Vec::new();
        for (pod, direction) in pod.into_iter().flat_map(|pod| DIRECTIONS.map(|direction| (pod, direction))) {
            let isolating = self.world.isolating(pod, direction);
            let chains: Vec<String> =
                isolating.filter_map(|policy| self.chains.get(&(policy.key.clone(), direction)).cloned()).collect();
            if !chains.is_empty() {
                wanted.push((direction, chains));
            }
        }
        let addresses = pod.map(|pod| pod.addresses.clone()).unwrap_or_default();
        self.isolations.set(key, addresses, wanted, &mut self.next, &mut self.tables);
    }

    fn pods_in(&self, namespace: &str) -> Vec<Key> {
        let first = Key { namespace: namespace.to_owned(), name: String::new() };
        let keys = self.world.pods.range(first..).map(|(key, _)| key);
        keys.take_while(|key| key.namespace == namespace).cloned().collect()
    }

    /// Returns the elements that a pod adds to the sets of peers.
    fn elements(&self, key: &Key) -> Vec<(String, Element)> {
        self.world.pods.get(key).map(|pod| self.groups.elements(&self.world, pod)).unwrap_or_default()
    }

    fn exchange(&mut self, before: Vec<(String, Element)>, after: Vec<(String, Element)>) {
        // Added first: an element that stays is not touched.
        after.iter().for_each(|(set, element)| self.tables.add_element(set, *element));
        before.iter().for_each(|(set, element)| self.tables.remove_element(set, element));
    }

    /// Returns the transaction that brings the kernel's rules up to date; `None` if they are.
    pub fn update(&mut self) -> Option<String> {
        self.tables.update()
    }

    /// Returns the transaction that replaces all rules, whatever the kernel has.
    pub fn replace(&mut self) -> String {
        self.tables.replace()
    }
}

#[cfg(test)]
mod tests;
