//! A NetworkPolicy in the form in which it is evaluated and compiled: defaults are filled in, and blocks have no
//! exceptions.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::objects::{Key, Protocol};
use crate::selector::Selector;

/// The direction of connections that a rule is about, as a selected pod sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Connections to the pod.
    Ingress,
    /// Connections from the pod.
    Egress,
}

impl Direction {
    /// Returns the name in the rules of a node.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        }
    }
}

/// The two directions.
pub(crate) const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// A policy of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The namespace, whose pods it may select, and the name.
    pub key: Key,
    /// The selected pods.
    pub selector: Selector,
    /// The rules for connections to the selected pods; `None` if the policy is not about these.
    pub ingress: Option<Vec<Rule>>,
    /// The rules for connections from the selected pods; `None` if the policy is not about these.
    pub egress: Option<Vec<Rule>>,
}

/// A rule: it allows connections with one of these peers to one of these ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The peers; `None` for any.
    pub peers: Option<Vec<Peer>>,
    /// The ports; `None` for any, and for protocols without ports.
    pub ports: Option<Vec<Port>>,
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Pods that are selected.
    Pods(Selected),
    /// Addresses, whoever has them.
    Block(Vec<IpNet>),
}

/// Pods that are selected by their labels and those of their namespaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selected {
    /// The namespaces of the pods.
    pub namespaces: Namespaces,
    /// The pods in these namespaces.
    pub pods: Selector,
}

/// The namespaces of selected pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Namespaces {
    /// The one with this name.
    Named(String),
    /// Those with these labels.
    Matching(Selector),
}

impl Selected {
    /// Returns the selection of all pods.
    pub fn all() -> Self {
        Selected { namespaces: Namespaces::Matching(Selector::default()), pods: Selector::default() }
    }
}

/// A port of the connection's destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// The ports from the first to the last number.
    Range(Protocol, u16, u16),
    /// The port that the destination pod has given this name.
    Named(Protocol, String),
}

impl Policy {
    /// Returns the rules for a direction; `None` if the policy is not about it.
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

impl From<&NetworkPolicy> for Policy {
    fn from(policy: &NetworkPolicy) -> Self {
        let key = Key::of(policy);
        let spec = policy.spec.clone().unwrap_or_default();
        let rule = |peers: &Option<Vec<NetworkPolicyPeer>>, ports: &Option<Vec<NetworkPolicyPort>>| Rule {
            peers: some(peers).map(|peers| peers.iter().map(|one| peer(&key.namespace, one)).collect()),
            ports: some(ports).map(|ports| ports.iter().map(port).collect()),
        };
        let ingress: Vec<Rule> = spec.ingress.iter().flatten().map(|one| rule(&one.from, &one.ports)).collect();
        let egress: Vec<Rule> = spec.egress.iter().flatten().map(|one| rule(&one.to, &one.ports)).collect();
        // "If this field is not specified, it will default based on the existence of ingress or egress rules; policies
        // that contain an egress section are assumed to affect egress, and all policies … ingress."
        let is_about = |name: &str, default: bool| match some(&spec.policy_types) {
            Some(types) => types.iter().any(|one| one == name),
            None => default,
        };
        Policy {
            selector: spec.pod_selector.as_ref().map(Selector::from).unwrap_or_default(),
            ingress: is_about("Ingress", true).then_some(ingress),
            egress: is_about("Egress", !egress.is_empty()).then_some(egress),
            key,
        }
    }
}

/// Returns a list that is set: an empty one means the same as a missing one.
fn some<T>(list: &Option<Vec<T>>) -> Option<&Vec<T>> {
    list.as_ref().filter(|list| !list.is_empty())
}

fn peer(namespace: &str, peer: &NetworkPolicyPeer) -> Peer {
    if let Some(block) = &peer.ip_block {
        return Peer::Block(without_exceptions(block));
    }
    let namespaces = match &peer.namespace_selector {
        Some(selector) => Namespaces::Matching(selector.into()),
        None => Namespaces::Named(namespace.to_owned()),
    };
    Peer::Pods(Selected { namespaces, pods: peer.pod_selector.as_ref().map(Selector::from).unwrap_or_default() })
}

fn port(port: &NetworkPolicyPort) -> Port {
    let protocol = Protocol::named(port.protocol.as_deref());
    let number = |number: i32| u16::try_from(number).unwrap_or_default();
    match &port.port {
        None => Port::Range(protocol, 0, u16::MAX),
        Some(IntOrString::Int(first)) => Port::Range(protocol, number(*first), number(port.end_port.unwrap_or(*first))),
        Some(IntOrString::String(name)) => Port::Named(protocol, name.clone()),
    }
}

/// Returns the networks that a block consists of.
fn without_exceptions(block: &IPBlock) -> Vec<IpNet> {
    let parse = |text: &str| text.parse::<IpNet>().ok().map(|net| net.trunc());
    let mut nets: Vec<IpNet> = parse(&block.cidr).into_iter().collect();
    for hole in block.except.iter().flatten().filter_map(|text| parse(text)) {
        nets = nets.into_iter().flat_map(|net| without(net, hole)).collect();
    }
    IpNet::aggregate(&nets)
}

/// Returns the parts of a network that are not in another.
fn without(net: IpNet, hole: IpNet) -> Vec<IpNet> {
    if hole.contains(&net) {
        return Vec::new();
    }
    if !net.contains(&hole) {
        return vec![net];
    }
    let halves = net.subnets(net.prefix_len() + 1).expect("a network that contains another can be halved");
    halves.flat_map(|half| without(half, hole)).collect()
}

/// Returns true if an address is in one of the networks.
pub(crate) fn contains(nets: &[IpNet], address: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(spec: serde_json::Value) -> Policy {
        let object = serde_json::json!({"metadata": {"name": "p", "namespace": "x"}, "spec": spec});
        Policy::from(&serde_json::from_value::<NetworkPolicy>(object).unwrap())
    }

    fn block(cidr: &str, except: &[&str]) -> Vec<String> {
        let except = Some(except.iter().map(|text| (*text).to_owned()).collect());
        let nets = without_exceptions(&IPBlock { cidr: cidr.to_owned(), except });
        nets.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_types_of_a_policy_follow_from_its_rules() {
        let types = |spec| {
            let policy = policy(spec);
            (policy.ingress.is_some(), policy.egress.is_some())
        };
        assert_eq!(types(serde_json::json!({"podSelector": {}})), (true, false));
        assert_eq!(types(serde_json::json!({"podSelector": {}, "egress": [{}]})), (true, true));
        assert_eq!(types(serde_json::json!({"podSelector": {}, "egress": []})), (true, false));
        assert_eq!(types(serde_json::json!({"podSelector": {}, "policyTypes": ["Egress"]})), (false, true));
        let ignored = serde_json::json!({"podSelector": {}, "policyTypes": ["Egress"], "ingress": [{}]});
        assert_eq!(types(ignored), (false, true));
    }

    #[test]
    fn an_empty_list_is_the_same_as_a_missing_one() {
        let found = policy(serde_json::json!({"podSelector": {}, "ingress": [{"from": [], "ports": []}]}));
        assert_eq!(found.ingress, Some(vec![Rule { peers: None, ports: None }]));
    }

    #[test]
    fn ports_have_a_protocol_and_may_have_an_end() {
        let found = policy(serde_json::json!({"podSelector": {}, "ingress": [{"ports": [
            {"port": 80}, {"protocol": "UDP", "port": 90, "endPort": 99}, {"protocol": "SCTP"}, {"port": "web"},
        ]}]}));
        let ports = found.ingress.unwrap().remove(0).ports.unwrap();
        assert_eq!(
            ports,
            [
                Port::Range(Protocol::Tcp, 80, 80),
                Port::Range(Protocol::Udp, 90, 99),
                Port::Range(Protocol::Sctp, 0, 65535),
                Port::Named(Protocol::Tcp, "web".to_owned()),
            ]
        );
    }

    #[test]
    fn exceptions_are_cut_out() {
        assert_eq!(block("10.0.0.0/30", &[]), ["10.0.0.0/30"]);
        assert_eq!(block("10.0.0.0/30", &["10.0.0.1/32"]), ["10.0.0.0/32", "10.0.0.2/31"]);
        assert_eq!(block("10.0.0.5/8", &["10.0.0.0/9"]), ["10.128.0.0/9"]);
        assert_eq!(block("10.0.0.0/24", &["10.0.0.0/16"]), Vec::<String>::new());
        assert_eq!(block("10.0.0.0/24", &["10.0.1.0/24", "fd00::/8"]), ["10.0.0.0/24"]);
        assert_eq!(block("0.0.0.0/0", &["128.0.0.0/1", "0.0.0.0/1"]), Vec::<String>::new());
        assert_eq!(block("fd00::/126", &["fd00::2/127"]), ["fd00::/127"]);
    }
}
