//! Allocation without a pool: Services have the addresses of the nodes, where kube-proxy serves them. They need no
//! announcement, but a port of a node leads to one Service only. Pure, as [`crate::allocate`].

use std::collections::{BTreeMap, BTreeSet};

use kcl_node_spec::ports;

use crate::allocate::Problem;
use crate::objects::{Key, ServicePort};

/// The reserved ports of nodes and their owners. Otherwise kube-proxy would lead a login on a node to a pod.
const RESERVED: &[(&str, u16, &str)] = &[
    ("TCP", 22, "the node's sshd"),
    ("TCP", ports::ETCD_CLIENT, "etcd"),
    ("TCP", ports::ETCD_PEER, "etcd"),
    ("TCP", ports::API_SERVER, "the API server"),
    ("TCP", ports::KUBELET, "the kubelet"),
    ("UDP", 4789, "the nodes' VXLAN"),
];

/// A Service that requests ports of the nodes. Requests are sorted oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The key of the Service.
    pub key: Key,
    /// The ports of the Service.
    pub ports: Vec<ServicePort>,
    /// True if the Service already has its addresses.
    pub held: bool,
}

/// Returns the Services that get the nodes' addresses, and the problems of the others. `listening` are the TCP ports on
/// which a program of a node listens.
pub(crate) fn grant(requests: &[Request], listening: &BTreeSet<u16>) -> BTreeMap<Key, Option<Problem>> {
    let mut owners: BTreeMap<&ServicePort, &Key> = BTreeMap::new();
    let mut results = BTreeMap::new();
    let (held, fresh): (Vec<_>, Vec<_>) = requests.iter().partition(|request| request.held);
    for request in held.into_iter().chain(fresh) {
        let problem = request.ports.iter().find_map(|port| {
            let by = owner(port, &owners, listening.contains(&port.port) && !request.held)?;
            Some(Problem::PortTaken { port: format!("{}/{}", port.port, port.protocol), by })
        });
        if problem.is_none() {
            owners.extend(request.ports.iter().map(|port| (port, &request.key)));
        }
        results.insert(request.key.clone(), problem);
    }
    results
}

fn owner(port: &ServicePort, owners: &BTreeMap<&ServicePort, &Key>, listening: bool) -> Option<String> {
    let reserved = RESERVED.iter().find(|(protocol, number, _)| port.protocol == *protocol && port.port == *number);
    let service = || owners.get(port).map(|key| format!("Service {key}"));
    let program = || (listening && port.protocol == "TCP").then(|| "a program on a node".to_owned());
    reserved.map(|(_, _, whose)| (*whose).to_owned()).or_else(service).or_else(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;

    fn request(name: &str, ports: &[(&str, u16)], held: bool) -> Request {
        let ports = ports.iter().map(|&(protocol, port)| ServicePort { protocol: protocol.to_owned(), port });
        Request { key: key(name), ports: ports.collect(), held }
    }

    #[test]
    fn a_port_is_one_services() {
        let requests = [
            request("first", &[("TCP", 80)], false),
            request("second", &[("TCP", 443), ("TCP", 80)], false),
            request("third", &[("TCP", 443), ("UDP", 80)], false),
            request("held", &[("TCP", 80)], true),
            request("ssh", &[("TCP", 22)], false),
            request("own", &[("TCP", 8000)], false),
            request("served", &[("TCP", 9000)], true),
        ];
        let results = grant(&requests, &[8000, 9000].into());
        let taken_by = |name: &str| match &results[&key(name)] {
            Some(Problem::PortTaken { by, .. }) => by.as_str(),
            Some(other) => panic!("{other}"),
            None => "",
        };
        assert_eq!(taken_by("held"), "");
        assert_eq!(taken_by("first"), "Service default/held");
        assert_eq!(taken_by("second"), "Service default/held");
        assert_eq!(taken_by("third"), "");
        assert_eq!(taken_by("ssh"), "the node's sshd");
        assert_eq!(taken_by("own"), "a program on a node");
        assert_eq!(taken_by("served"), "", "what listens there may be what it leads to");
    }
}
