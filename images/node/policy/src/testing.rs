//! Clusters for tests: namespaces `x`, `y` and `z` with pods `a`, `b` and `c`, as in Kubernetes' own tests of policies.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use crate::objects::{ApiPod, Key, Labels, Pod};
use crate::policy::Policy;
use crate::world::World;

/// The namespaces, and the pods in each.
pub(crate) const NAMESPACES: [&str; 3] = ["x", "y", "z"];
pub(crate) const PODS: [&str; 3] = ["a", "b", "c"];

/// Returns the labels of an object.
pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Returns a pod with two ports of each protocol. The pods of a namespace are on a node of their own.
pub(crate) fn pod(namespace: &str, name: &str) -> Pod {
    let place = |all: [&str; 3], one: &str| all.iter().position(|other| *other == one).unwrap_or(9) + 1;
    let address = format!("10.244.{}.{}", place(NAMESPACES, namespace), place(PODS, name));
    pod_at(namespace, name, &address, &format!("node-{namespace}"))
}

/// Returns a pod with an address on a node.
pub(crate) fn pod_at(namespace: &str, name: &str, address: &str, node: &str) -> Pod {
    let ports: Vec<Value> = ["TCP", "UDP", "SCTP"]
        .iter()
        .flat_map(|protocol| {
            [80, 81].map(|number| {
                let name = format!("serve-{number}-{}", protocol.to_lowercase());
                json!({"name": name, "containerPort": number, "protocol": protocol})
            })
        })
        .collect();
    let value = json!({
        "metadata": {"namespace": namespace, "name": name, "uid": format!("{namespace}-{name}"), "labels": {"pod": name}},
        "spec": {"nodeName": node, "containers": [{"ports": ports}]},
        "status": {"phase": "Running", "podIPs": [{"ip": address}]},
    });
    serde_json::from_value::<ApiPod>(value).expect("a pod").into()
}

/// Returns a policy in a namespace.
pub(crate) fn policy(namespace: &str, name: &str, spec: Value) -> Policy {
    let value = json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec});
    Policy::from(&serde_json::from_value::<NetworkPolicy>(value).expect("a policy"))
}

/// Returns the cluster with these policies.
pub(crate) fn world(policies: Vec<Policy>) -> World {
    let mut world = World::default();
    for namespace in NAMESPACES {
        world.namespaces.insert(namespace.to_owned(), labels(&[("ns", namespace)]));
        for name in PODS {
            world.pods.insert(Key::new(namespace, name), pod(namespace, name));
        }
    }
    world.policies = policies.into_iter().map(|policy| (policy.key.clone(), policy)).collect();
    world
}
