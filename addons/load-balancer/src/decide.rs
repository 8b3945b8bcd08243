//! Decides the addresses and the node of each Service: a pure function of the known objects.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::Metadata;
use kcl_node_spec::Addresses;

use crate::allocate::{self, Problem};
use crate::announce::{self, Announced, Candidate};
use crate::cache::Cache;
use crate::objects::{EndpointSlice, Key, Node, Readiness, Service};
use crate::on_nodes;
use crate::pool::Pool;
use crate::settings::Controller;

/// The known objects.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// The Services of type LoadBalancer, of any class.
    pub services: Cache<Service>,
    /// The nodes of the cluster.
    pub nodes: Cache<Node>,
    /// The endpoints of Services.
    pub slices: Cache<EndpointSlice>,
    /// The names of nodes that do not respond to probes.
    pub unreachable: BTreeSet<String>,
    /// The TCP ports on which programs of nodes listen.
    pub listening: BTreeSet<u16>,
}

/// The state that a Service should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The key of the Service.
    pub key: Key,
    /// The uid of the Service, as a name may be reused.
    pub uid: String,
    /// The addresses of the Service.
    pub addresses: Vec<Addresses>,
    /// The node that answers for the addresses.
    pub by: Option<String>,
    /// The reason why the request is not granted in full.
    pub problem: Option<Problem>,
}

impl Decision {
    /// Returns the addresses of both families, as they are in the Service's status.
    pub(crate) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().flat_map(|addresses| addresses.iter())
    }

    /// Returns true if the Service already has this state.
    pub(crate) fn is_so(&self, service: &Service) -> bool {
        self.ips().eq(service.addresses()) && self.by.as_deref() == service.announced_by()
    }
}

/// Returns true if a Service belongs to this load balancer.
pub(crate) fn ours(settings: &Controller, service: &Service) -> bool {
    match service.spec.load_balancer_class.as_deref() {
        Some(class) => class == settings.class,
        None => settings.classless,
    }
}

/// Decides for each Service of this load balancer, oldest first, and releases those that no longer belong to it.
pub(crate) fn decide(settings: &Controller, world: &World) -> Vec<Decision> {
    let (mut mine, others): (Vec<_>, Vec<_>) =
        world.services.iter().map(|(_, service)| service).partition(|service| ours(settings, service));
    mine.sort_by_key(|service| (service.metadata().creation_timestamp.clone(), Key::of(*service)));
    let mut decisions = match &settings.pool {
        Some(pool) => from_pool(settings, pool, world, &mine),
        None => of_nodes(world, &mine),
    };
    let left = others.into_iter().filter(|service| service.announced_by().is_some());
    decisions.extend(left.map(nothing));
    decisions
}

/// Returns the decision that releases a Service of another load balancer.
pub(crate) fn nothing(service: &Service) -> Decision {
    let uid = service.uid().to_owned();
    Decision { key: Key::of(service), uid, addresses: Vec::new(), by: None, problem: None }
}

fn from_pool(settings: &Controller, pool: &Pool, world: &World, services: &[&Service]) -> Vec<Decision> {
    let nodes: BTreeSet<Addresses> = world.nodes.iter().filter_map(|(_, node)| node.address()).collect();
    let requests: Vec<_> = services
        .iter()
        .map(|service| allocate::Request {
            key: Key::of(*service),
            wanted: service.wanted().map(str::to_owned),
            held: Addresses::first_of(service.addresses()),
        })
        .collect();
    let mut grants = allocate::allocate(pool, &nodes, &requests);
    let places = places(world);
    let announced: Vec<_> = services
        .iter()
        .map(|service| (Key::of(*service), service))
        .filter(|(key, _)| grants.get(key).is_some_and(|grant| grant.address.is_some()))
        .map(|(key, service)| Announced {
            by: service.announced_by().map(str::to_owned),
            only: service.is_local().then(|| places.get(&key).cloned().unwrap_or_default()),
            key,
        })
        .collect();
    let mut chosen = announce::choose(&candidates(settings, world), &announced);
    services
        .iter()
        .map(|service| {
            let mut decision = nothing(service);
            let grant = grants.remove(&decision.key).unwrap_or_default();
            decision.by = chosen.remove(&decision.key).flatten();
            decision.addresses = grant.address.into_iter().collect();
            decision.problem = grant.problem;
            decision
        })
        .collect()
}

fn candidates(settings: &Controller, world: &World) -> Vec<Candidate> {
    let near =
        |node: &Node| node.address().is_some_and(|address| settings.subnet.is_none_or(|net| net.contains(address)));
    let nodes = world.nodes.iter().filter(|(_, node)| near(node));
    nodes
        .map(|(key, node)| Candidate {
            name: key.name.clone(),
            readiness: node.readiness(),
            answers: !world.unreachable.contains(&key.name),
            control_plane: node.is_control_plane(),
            excluded: node.is_excluded(),
        })
        .collect()
}

fn of_nodes(world: &World, services: &[&Service]) -> Vec<Decision> {
    let requests: Vec<_> = services
        .iter()
        .map(|service| on_nodes::Request {
            key: Key::of(*service),
            ports: service.spec.ports.clone(),
            held: service.addresses().next().is_some(),
        })
        .collect();
    let mut problems = on_nodes::grant(&requests, &world.listening);
    let places = places(world);
    let usable = |node: &Node| node.readiness() != Readiness::Silent && !node.is_excluded();
    services
        .iter()
        .map(|service| {
            let mut decision = nothing(service);
            decision.problem = problems.remove(&decision.key).flatten();
            if decision.problem.is_none() {
                let only = places.get(&decision.key).filter(|_| service.is_local());
                let fits = |name: &str| only.is_none_or(|only| only.contains(name));
                let nodes = world.nodes.iter().filter(|(key, node)| usable(node) && fits(&key.name));
                decision.addresses = nodes.filter_map(|(_, node)| node.address()).collect();
                decision.addresses.sort_unstable();
            }
            decision
        })
        .collect()
}

/// Returns the nodes with ready endpoints, for each Service.
fn places(world: &World) -> BTreeMap<Key, BTreeSet<String>> {
    let mut places: BTreeMap<Key, BTreeSet<String>> = BTreeMap::new();
    for (_, slice) in world.slices.iter() {
        if let Some(service) = slice.service() {
            places.entry(service).or_default().extend(slice.nodes().map(str::to_owned));
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{ip, key};

    fn settings(pool: Option<&str>) -> Controller {
        Controller {
            pool: pool.map(|pool| pool.parse().expect("a pool")),
            subnet: Some("10.0.0.0/24".parse().expect("a network")),
            class: "kcl.dev/load-balancer".to_owned(),
            classless: true,
            workload: "load-balancer".to_owned(),
            namespace: "kube-system".to_owned(),
        }
    }

    fn service(name: &str, created: u32, spec: Value, status: Value) -> Service {
        let value = json!({
            "metadata": {
                "name": name, "namespace": "default", "uid": name,
                "creationTimestamp": format!("2026-01-01T00:00:{created:02}Z"),
                "annotations": {"kcl.dev/announced-by": status["by"]},
            },
            "spec": spec,
            "status": {"loadBalancer": {"ingress": status["ingress"]}},
        });
        let mut value = value;
        if status["by"].is_null() {
            value["metadata"]["annotations"] = json!({});
        }
        if status["ingress"].is_null() {
            value["status"] = json!({"loadBalancer": {}});
        }
        serde_json::from_value(value).expect("a service")
    }

    fn world(services: Vec<Service>) -> World {
        let mut world = World::default();
        for (index, name) in [(2, "one"), (3, "two"), (200, "three")] {
            let address = if name == "three" { "192.168.7.7".to_owned() } else { ip(index).to_string() };
            let node = json!({
                "metadata": {"name": name},
                "status": {
                    "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}],
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            });
            world.nodes.put(serde_json::from_value(node).expect("a node"));
        }
        let slice = json!({
            "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": [
                {"nodeName": "one", "conditions": {"ready": false}},
                {"nodeName": "two", "conditions": {"ready": true}},
            ],
        });
        world.slices.put(serde_json::from_value(slice).expect("a slice"));
        services.into_iter().for_each(|service| world.services.put(service));
        world
    }

    #[test]
    fn whose_services_are_decided_and_in_which_order() {
        let class = |class: &str| json!({"loadBalancerClass": class});
        let decisions = decide(
            &settings(Some("10.0.0.200-10.0.0.201")),
            &world(vec![
                service("young", 9, json!({}), json!({})),
                service("old", 1, class("kcl.dev/load-balancer"), json!({})),
                service("other", 0, class("example.org/lb"), json!({})),
                service("was", 0, class("example.org/lb"), json!({"by": "one", "ingress": [{"ip": "10.0.0.201"}]})),
            ]),
        );
        let all: Vec<_> = decisions.iter().map(|one| (one.key.name.as_str(), one.addresses.clone())).collect();
        assert_eq!(all, [("old", vec![ip(200)]), ("young", vec![ip(201)]), ("was", vec![])]);
    }

    #[test]
    fn only_nodes_on_the_network_with_a_ready_pod_announce_a_local_service() {
        let spec = json!({"externalTrafficPolicy": "Local"});
        let world = world(vec![service("web", 0, spec, json!({"by": "one", "ingress": [{"ip": "10.0.0.200"}]}))]);
        let decisions = decide(&settings(Some("10.0.0.200/30")), &world);
        assert_eq!(decisions[0].by.as_deref(), Some("two"));
        assert!(!decisions[0].is_so(world.services.iter().next().expect("it").1));
    }

    #[test]
    fn without_a_pool_services_have_the_addresses_of_nodes() {
        let ports = json!({"ports": [{"port": 80}]});
        let local = json!({"externalTrafficPolicy": "Local", "ports": [{"port": 81, "protocol": "UDP"}]});
        let mut world = world(vec![
            service("all", 0, ports.clone(), json!({})),
            service("late", 1, ports, json!({})),
            service("web", 2, local, json!({})),
        ]);
        let decisions = decide(&settings(None), &world);
        assert_eq!(decisions[0].addresses, [ip(2), ip(3), [192, 168, 7, 7].into()]);
        assert_eq!(decisions[1].problem.as_ref().map(Problem::reason), Some("PortTaken"));
        assert!(decisions[1].addresses.is_empty());
        assert_eq!((&decisions[2].key, &decisions[2].addresses), (&key("web"), &vec![ip(3)]));
        world.listening.insert(80);
        assert!(decide(&settings(None), &world)[0].problem.is_some());
    }
}
