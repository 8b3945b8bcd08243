//! The objects of a cluster, and the questions about them that evaluation and compilation share.

use std::collections::BTreeMap;

use crate::objects::{Key, Labels, Pod, Protocol};
use crate::policy::{Direction, Namespaces, Policy, Selected};

/// The objects of a cluster.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The labels of the namespaces.
    pub namespaces: BTreeMap<String, Labels>,
    /// The pods of all namespaces.
    pub pods: BTreeMap<Key, Pod>,
    /// The policies of all namespaces.
    pub policies: BTreeMap<Key, Policy>,
}

impl World {
    /// Returns true if the selection includes the pod. A pod in the network of its node is not a peer: its packets are the
    /// node's.
    pub fn includes(&self, selected: &Selected, pod: &Pod) -> bool {
        !pod.host_network && self.in_namespaces(&selected.namespaces, &pod.key) && selected.pods.matches(&pod.labels)
    }

    fn in_namespaces(&self, namespaces: &Namespaces, pod: &Key) -> bool {
        match namespaces {
            Namespaces::Named(name) => *name == pod.namespace,
            // A namespace that is not known yet has no labels, and may not be selected.
            Namespaces::Matching(selector) => {
                self.namespaces.get(&pod.namespace).is_some_and(|labels| selector.matches(labels))
            }
        }
    }

    /// Returns the policies that isolate a pod in a direction.
    pub fn isolating(&self, pod: &Pod, direction: Direction) -> impl Iterator<Item = &Policy> {
        let (namespace, host) = (pod.key.namespace.clone(), pod.host_network);
        let first = Key { namespace: namespace.clone(), name: String::new() };
        let same = self.policies.range(first..).take_while(move |(key, _)| key.namespace == namespace);
        same.map(|(_, policy)| policy)
            .filter(move |policy| !host && policy.rules(direction).is_some() && policy.selector.matches(&pod.labels))
    }
}

impl Pod {
    /// Returns the numbers of the ports with this name.
    pub fn ports_named(&self, protocol: Protocol, name: &str) -> impl Iterator<Item = u16> {
        let found = self.ports.iter().filter(move |(found, own, _)| found == name && *own == protocol);
        found.map(|(_, _, number)| *number)
    }
}
