//! The answer to the question of whether a connection is allowed, and by which policy.

use std::net::IpAddr;

use crate::objects::{Key, Pod, Protocol};
use crate::policy::{Direction, Peer, Policy, Port, Rule, contains};
use crate::world::World;

/// An end of a connection.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// A pod of the cluster.
    Pod(&'a Pod),
    /// An address that belongs to no pod.
    Address(IpAddr),
}

/// The port of a connection: the protocol, and the number at the destination.
pub type Target = (Protocol, u16);

/// The decision at one end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// No policy isolates this end: it is no pod, or a pod that no policy selects in this direction.
    NotIsolated,
    /// The connection leads from the pod to itself, or stays on one node with an end that is the node.
    Exempt,
    /// These policies allow the connection.
    Allowed(Vec<Key>),
    /// These policies isolate the pod, and none of them allows the connection.
    Denied(Vec<Key>),
}

impl Decision {
    /// Returns true if this end lets the connection pass.
    pub fn passes(&self) -> bool {
        !matches!(self, Decision::Denied(_))
    }
}

/// The decisions at both ends of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The decision where the connection begins.
    pub egress: Decision,
    /// The decision where it ends.
    pub ingress: Decision,
}

impl Verdict {
    /// Returns true if the connection is allowed.
    pub fn allowed(&self) -> bool {
        self.egress.passes() && self.ingress.passes()
    }
}

/// Decides about a connection. Without a port, it is one of a protocol without ports, such as a ping.
pub fn evaluate(world: &World, from: End<'_>, to: End<'_>, target: Option<Target>) -> Verdict {
    if is_exempt(from, to) {
        return Verdict { egress: Decision::Exempt, ingress: Decision::Exempt };
    }
    Verdict {
        egress: decide(world, Direction::Egress, from, to, to, target),
        ingress: decide(world, Direction::Ingress, to, from, to, target),
    }
}

/// Returns true for connections that no policy can deny: of a pod with itself, and of a pod with the node that it runs on.
fn is_exempt(from: End<'_>, to: End<'_>) -> bool {
    match (from, to) {
        (End::Pod(from), End::Pod(to)) => {
            from.key == to.key || from.node == to.node && (from.host_network || to.host_network)
        }
        _ => false,
    }
}

fn decide(
    world: &World,
    direction: Direction,
    own: End<'_>,
    peer: End<'_>,
    destination: End<'_>,
    target: Option<Target>,
) -> Decision {
    let End::Pod(own) = own else { return Decision::NotIsolated };
    let isolating: Vec<&Policy> = world.isolating(own, direction).collect();
    if isolating.is_empty() {
        return Decision::NotIsolated;
    }
    let allows = |policy: &&&Policy| {
        let mut rules = policy.rules(direction).into_iter().flatten();
        rules.any(|rule| has_peer(world, rule, peer) && has_port(rule, destination, target))
    };
    let key = |policy: &&Policy| policy.key.clone();
    let allowing: Vec<Key> = isolating.iter().filter(allows).map(key).collect();
    if allowing.is_empty() {
        Decision::Denied(isolating.iter().map(key).collect())
    } else {
        Decision::Allowed(allowing)
    }
}

fn has_peer(world: &World, rule: &Rule, peer: End<'_>) -> bool {
    let Some(peers) = &rule.peers else { return true };
    peers.iter().any(|one| match (one, peer) {
        (Peer::Pods(selected), End::Pod(pod)) => world.includes(selected, pod),
        (Peer::Pods(_), End::Address(_)) => false,
        (Peer::Block(nets), End::Pod(pod)) => pod.addresses.iter().any(|address| contains(nets, *address)),
        (Peer::Block(nets), End::Address(address)) => contains(nets, address),
    })
}

fn has_port(rule: &Rule, destination: End<'_>, target: Option<Target>) -> bool {
    let Some(ports) = &rule.ports else { return true };
    let Some((protocol, number)) = target else { return false };
    ports.iter().any(|port| match port {
        Port::Range(own, first, last) => *own == protocol && (*first..=*last).contains(&number),
        Port::Named(own, name) => match destination {
            End::Pod(pod) if !pod.host_network && *own == protocol => {
                pod.ports_named(protocol, name).any(|found| found == number)
            }
            _ => false,
        },
    })
}

#[cfg(test)]
mod tests;
