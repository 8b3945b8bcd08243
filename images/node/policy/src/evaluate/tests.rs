//! Tables of connections, as in Kubernetes' own tests of policies.

use serde_json::{Value, json};

use super::*;
use crate::testing::{NAMESPACES, PODS, labels, policy, world};

/// An end of a connection in a table: `x/a`.
type Name = &'static str;

/// Tells of each pod whether it may connect.
type Allowed = fn(&str) -> bool;

/// Compares all connections between the pods with what a table says. The first policy is in namespace `x`, unless it is
/// named with another.
fn check(title: &str, policies: &[(&str, Value)], target: Target, allowed: impl Fn(&str, &str) -> bool) {
    let policies = policies.iter().enumerate();
    let policies = policies.map(|(at, (namespace, spec))| policy(namespace, &format!("p{at}"), spec.clone())).collect();
    let world = world(policies);
    let names: Vec<String> = NAMESPACES.iter().flat_map(|ns| PODS.map(|pod| format!("{ns}/{pod}"))).collect();
    let find = |name: &str| {
        let (namespace, name) = name.split_once('/').unwrap();
        End::Pod(&world.pods[&Key::new(namespace, name)])
    };
    for from in &names {
        for to in &names {
            let found = evaluate(&world, find(from), find(to), Some(target));
            // A pod always reaches itself.
            let expected = from == to || allowed(from, to);
            assert_eq!(found.allowed(), expected, "{title}: {from} to {to} {target:?}: {found:?}");
        }
    }
}

const TCP_80: Target = (Protocol::Tcp, 80);
const TCP_81: Target = (Protocol::Tcp, 81);
const UDP_80: Target = (Protocol::Udp, 80);
const SCTP_80: Target = (Protocol::Sctp, 80);

fn in_x(name: &str) -> bool {
    name.starts_with("x/")
}

fn selecting(pod: &str, rest: Value) -> Value {
    let mut spec = json!({"podSelector": {"matchLabels": {"pod": pod}}});
    for (key, value) in rest.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

fn all_pods(rest: Value) -> Value {
    let mut spec = selecting("a", rest);
    spec["podSelector"] = json!({});
    spec
}

#[test]
fn isolation_is_by_direction_and_by_namespace() {
    let ingress = all_pods(json!({"policyTypes": ["Ingress"]}));
    let egress = all_pods(json!({"policyTypes": ["Egress"]}));
    let both = all_pods(json!({"policyTypes": ["Ingress", "Egress"]}));
    check("none", &[], TCP_80, |_, _| true);
    check("ingress", &[("x", ingress.clone())], TCP_80, |_, to| !in_x(to));
    check("egress", &[("x", egress.clone())], TCP_80, |from, _| !in_x(from));
    check("both", &[("x", both)], UDP_80, |from, to| !in_x(from) && !in_x(to));
    check("two", &[("x", ingress), ("y", egress)], TCP_80, |from, to| !in_x(to) && !from.starts_with("y/"));
    let open = all_pods(json!({"ingress": [{}], "egress": [{}], "policyTypes": ["Ingress", "Egress"]}));
    check("allow all", &[("x", open)], SCTP_80, |_, _| true);
}

#[test]
fn peers_are_selected_by_pod_and_by_namespace() {
    let from = |peers: Value| selecting("a", json!({"ingress": [{"from": peers}]}));
    let to_a = |allowed: Allowed| move |from: &str, to: &str| to != "x/a" || allowed(from);
    let b = json!({"matchLabels": {"pod": "b"}});
    let y = json!({"matchLabels": {"ns": "y"}});
    let others = json!({"matchExpressions": [{"key": "ns", "operator": "NotIn", "values": ["x"]}]});
    let cases: [(Value, Allowed); 6] = [
        (json!([{"podSelector": b}]), |from| from == "x/b"),
        (json!([{"podSelector": {}}]), in_x),
        (json!([{"namespaceSelector": y}]), |from| from.starts_with("y/")),
        (json!([{"namespaceSelector": {}}]), |_| true),
        (json!([{"namespaceSelector": others, "podSelector": b}]), |from| from == "y/b" || from == "z/b"),
        (json!([{"podSelector": b}, {"namespaceSelector": y}]), |from| from == "x/b" || from.starts_with("y/")),
    ];
    for (peers, allowed) in cases {
        check(&peers.to_string(), &[("x", from(peers))], TCP_80, to_a(allowed));
    }
}

#[test]
fn policies_add_up() {
    let from =
        |pod: &str| selecting("a", json!({"ingress": [{"from": [{"podSelector": {"matchLabels": {"pod": pod}}}]}]}));
    let both = [("x", from("b")), ("x", from("c"))];
    check("two", &both, TCP_80, |from, to| to != "x/a" || from == "x/b" || from == "x/c");
    let deny = all_pods(json!({"policyTypes": ["Ingress"]}));
    check("deny and allow", &[("x", deny), ("x", from("b"))], TCP_80, |from, to| {
        !in_x(to) || (from, to) == ("x/b", "x/a")
    });
}

#[test]
fn both_ends_have_to_allow() {
    let client = selecting("a", json!({"policyTypes": ["Egress"]}));
    let server = all_pods(json!({"ingress": [{"from": [{"namespaceSelector": {}}]}]}));
    check("denied at its client", &[("x", client), ("y", server)], TCP_80, |from, _| from != "x/a");
}

#[test]
fn ports_are_matched_by_number_range_and_name() {
    let on = |ports: Value| selecting("a", json!({"ingress": [{"ports": ports}]}));
    let cases: [(Value, [bool; 4]); 9] = [
        (json!([{"port": 80}]), [true, false, false, false]),
        (json!([{"port": 81, "protocol": "TCP"}]), [false, true, false, false]),
        (json!([{"port": 80, "endPort": 81}]), [true, true, false, false]),
        (json!([{"port": 79, "endPort": 80, "protocol": "UDP"}]), [false, false, true, false]),
        (json!([{"protocol": "TCP"}]), [true, true, false, false]),
        (json!([{"protocol": "SCTP"}]), [false, false, false, true]),
        (json!([{"port": "serve-81-tcp"}]), [false, true, false, false]),
        (json!([{"port": "serve-80-udp", "protocol": "UDP"}]), [false, false, true, false]),
        // The name is of a port of another protocol.
        (json!([{"port": "serve-80-udp"}]), [false, false, false, false]),
    ];
    for (ports, expected) in cases {
        for (target, allowed) in [TCP_80, TCP_81, UDP_80, SCTP_80].into_iter().zip(expected) {
            check(&ports.to_string(), &[("x", on(ports.clone()))], target, |_, to| to != "x/a" || allowed);
        }
    }
}

#[test]
fn names_of_ports_are_those_of_the_destination() {
    let egress = |peer: Value| selecting("a", json!({"egress": [{"to": peer, "ports": [{"port": "serve-81-tcp"}]}]}));
    let types = |mut spec: Value| {
        spec["policyTypes"] = json!(["Egress"]);
        spec
    };
    let to_y = types(egress(json!([{"namespaceSelector": {"matchLabels": {"ns": "y"}}}])));
    check("named", &[("x", to_y.clone())], TCP_81, |from, to| from != "x/a" || to.starts_with("y/"));
    check("named", &[("x", to_y)], TCP_80, |from, _| from != "x/a");
    check("anywhere", &[("x", types(egress(json!([]))))], TCP_81, |_, _| true);
}

#[test]
fn blocks_have_exceptions() {
    let to =
        |block: Value| selecting("a", json!({"policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": block}]}]}));
    let block = json!({"cidr": "10.244.2.0/24", "except": ["10.244.2.2/32"]});
    check("except", &[("x", to(block.clone()))], TCP_80, |from, to| from != "x/a" || ["y/a", "y/c"].contains(&to));
    let also = to(json!({"cidr": "10.244.2.2/32"}));
    let both = [("x", to(block)), ("x", also)];
    check("an exception of one policy only", &both, TCP_80, |from, to| from != "x/a" || to.starts_with("y/"));
}

#[test]
fn addresses_are_matched_by_blocks_alone() {
    let spec = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [{"namespaceSelector": {}}, {"ipBlock": {"cidr": "192.0.2.0/24"}}]}]});
    let world = world(vec![policy("x", "p", spec)]);
    let pod = End::Pod(&world.pods[&Key::new("x", "a")]);
    let reaches = |address: &str| evaluate(&world, End::Address(address.parse().unwrap()), pod, Some(TCP_80)).allowed();
    assert!(reaches("192.0.2.9"));
    assert!(!reaches("198.51.100.9"));
    let out = evaluate(&world, pod, End::Address("192.0.2.9".parse().unwrap()), Some(TCP_80));
    assert_eq!(out.egress, Decision::Denied(vec![Key::new("x", "p")]));
    assert_eq!(out.ingress, Decision::NotIsolated);
}

#[test]
fn a_node_reaches_its_pods_and_is_no_peer() {
    let spec = all_pods(json!({"policyTypes": ["Ingress"], "ingress": [{"from": [{"namespaceSelector": {}}]}]}));
    let mut world = world(vec![policy("x", "p", spec)]);
    for (name, node) in [("near", "node-x"), ("far", "node-y")] {
        let mut pod = crate::testing::pod_at("z", name, "192.0.2.1", node);
        pod.host_network = true;
        world.pods.insert(pod.key.clone(), pod);
    }
    let reaches = |name: Name| {
        let (from, to) = (&world.pods[&Key::new("z", name)], &world.pods[&Key::new("x", "a")]);
        evaluate(&world, End::Pod(from), End::Pod(to), Some(TCP_80)).allowed()
    };
    assert!(reaches("near"));
    assert!(!reaches("far"));
}

#[test]
fn without_a_port_only_rules_for_all_protocols_allow() {
    let spec = |ports: Value| selecting("a", json!({"ingress": [{"ports": ports}]}));
    for (ports, allowed) in [(json!([]), true), (json!([{"port": 0, "endPort": 65535}]), false)] {
        let world = world(vec![policy("x", "p", spec(ports))]);
        let (from, to) = (&world.pods[&Key::new("y", "a")], &world.pods[&Key::new("x", "a")]);
        assert_eq!(evaluate(&world, End::Pod(from), End::Pod(to), None).allowed(), allowed);
    }
}

#[test]
fn labels_decide_at_any_time() {
    let spec = selecting("a", json!({"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"ns": "y"}}}]}]}));
    let mut world = world(vec![policy("x", "p", spec)]);
    let reaches = |world: &World, from: Key| {
        let (from, to) = (&world.pods[&from], &world.pods[&Key::new("x", "a")]);
        evaluate(world, End::Pod(from), End::Pod(to), Some(TCP_80)).allowed()
    };
    assert!(!reaches(&world, Key::new("z", "a")));
    world.namespaces.insert("z".to_owned(), labels(&[("ns", "y")]));
    assert!(reaches(&world, Key::new("z", "a")));
}
