//! Chooses the node that answers for each address: a pure function, as [`crate::allocate`].

use std::collections::{BTreeMap, BTreeSet};

use crate::objects::{Key, Readiness};

/// A node that may answer for addresses.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// The node's name.
    pub name: String,
    /// The state of the node's kubelet.
    pub readiness: Readiness,
    /// True if the machine responds to probes.
    pub answers: bool,
    /// True if the node runs the control plane.
    pub control_plane: bool,
    /// True if the node is excluded from load balancing.
    pub excluded: bool,
}

impl Candidate {
    /// Returns true if the node may keep its addresses. The node's kernel answers and forwards, so a kubelet that
    /// restarts is no reason to move them, but one that has been silent for long is.
    fn keeps(&self) -> bool {
        self.answers && !self.excluded && self.readiness != Readiness::Silent
    }

    /// Returns true if the node may get further addresses.
    fn takes(&self) -> bool {
        self.keeps() && self.readiness == Readiness::Ready
    }
}

/// A Service that has an address.
#[derive(Clone, Debug)]
pub(crate) struct Announced {
    /// The key of the Service.
    pub key: Key,
    /// The node that answers now.
    pub by: Option<String>,
    /// The nodes with an endpoint, if traffic must stay on the node (`externalTrafficPolicy: Local`).
    pub only: Option<BTreeSet<String>>,
}

impl Announced {
    fn suits(&self, node: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(node))
    }
}

/// Chooses a node for each Service. A node that answers stays; otherwise the one with the fewest addresses is chosen.
/// Control planes come last: if one fails, nothing is left to move its addresses.
pub(crate) fn choose(nodes: &[Candidate], services: &[Announced]) -> BTreeMap<Key, Option<String>> {
    let mut load: BTreeMap<&str, usize> = BTreeMap::new();
    let mut chosen: BTreeMap<Key, Option<String>> = BTreeMap::new();
    let mut open = Vec::new();
    for service in services {
        // If no node qualifies, as for a Service without a pod, any will do, and the current one is kept.
        let anywhere = !nodes.iter().any(|node| node.takes() && service.suits(&node.name));
        let fits = |node: &&Candidate| node.keeps() && (anywhere || service.suits(&node.name));
        let current = nodes.iter().filter(fits).find(|node| service.by.as_deref() == Some(&node.name));
        match current {
            Some(node) => {
                *load.entry(&node.name).or_default() += 1;
                chosen.insert(service.key.clone(), Some(node.name.clone()));
            }
            None => open.push((service, anywhere)),
        }
    }
    for (service, anywhere) in open {
        let fits = nodes.iter().filter(|node| node.takes() && (anywhere || service.suits(&node.name)));
        let rank = |node: &&Candidate| (node.control_plane, load.get(node.name.as_str()).copied().unwrap_or_default());
        let best = fits.min_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name)));
        if let Some(node) = best {
            *load.entry(&node.name).or_default() += 1;
        }
        chosen.insert(service.key.clone(), best.map(|node| node.name.clone()));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;

    fn nodes() -> Vec<Candidate> {
        let node = |name: &str| Candidate {
            name: name.to_owned(),
            readiness: Readiness::Ready,
            answers: true,
            control_plane: name == "one",
            excluded: false,
        };
        ["one", "two", "three"].map(node).into()
    }

    fn announced(name: &str, by: Option<&str>) -> Announced {
        Announced { key: key(name), by: by.map(str::to_owned), only: None }
    }

    fn local(name: &str, by: Option<&str>, only: &[&str]) -> Announced {
        let only = only.iter().map(|&node| node.to_owned()).collect();
        Announced { only: Some(only), ..announced(name, by) }
    }

    fn by(nodes: &[Candidate], service: Announced) -> Option<String> {
        choose(nodes, std::slice::from_ref(&service)).remove(&service.key).expect("it is decided")
    }

    #[test]
    fn they_spread_over_the_workers() {
        let services: Vec<_> = ["a", "b", "c", "d"].map(|name| announced(name, None)).into();
        let chosen = choose(&nodes(), &services);
        let count = |node: &str| chosen.values().filter(|by| by.as_deref() == Some(node)).count();
        assert_eq!((count("one"), count("two"), count("three")), (0, 2, 2));
    }

    #[test]
    fn a_single_node_does_it() {
        assert_eq!(by(&nodes()[..1], announced("a", None)).as_deref(), Some("one"));
        assert_eq!(by(&[], announced("a", Some("one"))), None);
    }

    #[test]
    fn who_answers_goes_on() {
        assert_eq!(by(&nodes(), announced("a", Some("one"))).as_deref(), Some("one"));
        let mut nodes = nodes();
        nodes[0].readiness = Readiness::NotReady;
        assert_eq!(by(&nodes, announced("a", Some("one"))).as_deref(), Some("one"), "its kernel still forwards");
        assert_eq!(by(&nodes[..1], announced("a", None)), None, "but it gets no more");
    }

    #[test]
    fn who_is_gone_is_replaced_and_does_not_come_back() {
        let away: [fn(&mut Candidate); 3] =
            [|node| node.answers = false, |node| node.readiness = Readiness::Silent, |node| node.excluded = true];
        for change in away {
            let mut nodes = nodes();
            change(&mut nodes[1]);
            assert_eq!(by(&nodes, announced("a", Some("two"))).as_deref(), Some("three"));
        }
        assert_eq!(by(&nodes(), announced("a", Some("three"))).as_deref(), Some("three"));
        assert_eq!(by(&nodes(), announced("a", Some("deleted"))).as_deref(), Some("three"));
    }

    #[test]
    fn local_services_are_where_their_pods_are() {
        assert_eq!(by(&nodes(), local("a", None, &["one"])).as_deref(), Some("one"));
        assert_eq!(by(&nodes(), local("a", Some("two"), &["one", "three"])).as_deref(), Some("three"));
        assert_eq!(by(&nodes(), local("a", Some("two"), &["one", "two"])).as_deref(), Some("two"));
        assert_eq!(by(&nodes(), local("a", Some("one"), &[])).as_deref(), Some("one"), "no pod yet: stay");
        assert_eq!(by(&nodes(), local("a", None, &[])).as_deref(), Some("three"));
    }
}
