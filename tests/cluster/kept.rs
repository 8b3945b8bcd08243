//! Data that a cluster keeps, whatever happens to its machines: stored before, compared afterwards.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::Value;

use crate::support::{Pod, TestCluster, eventually};

/// The data that has to be the same before and after.
#[derive(Debug, PartialEq)]
pub(crate) struct Kept {
    nodes: Vec<Value>,
    uids: BTreeMap<String, Vec<String>>,
    words: Vec<String>,
    services: String,
    files: BTreeMap<String, String>,
    certificates: BTreeMap<String, String>,
    pods: Vec<(String, String, String)>,
    kubeconfig: String,
}

/// Puts something into a cluster that is worth keeping: objects, a Secret, files of nodes, pods that run.
pub(crate) fn fill(cluster: &TestCluster<'_>) {
    cluster.kubectl(["create", "configmap", "kept", "--from-literal=word=kept"]);
    cluster.kubectl(["create", "secret", "generic", "kept", "--from-literal=word=secret"]);
    cluster.apply(include_str!("manifests/web.yaml"));
    cluster.apply(include_str!("manifests/store.yaml"));
    cluster.rolled_out("daemonset/web");
    cluster.rolled_out("statefulset/store");
    for pod in cluster.pods("app=store") {
        cluster.exec(&pod.name, &format!("echo the data of {} > /kept/index.html", pod.name)).ok();
    }
}

/// Looks at all that was filled in.
pub(crate) fn look(cluster: &TestCluster<'_>) -> Kept {
    let names = cluster.node_names();
    let on_nodes = |line: &str| -> BTreeMap<String, String> {
        names.iter().map(|node| (node.clone(), cluster.ssh(node, line).ok().to_owned())).collect()
    };
    let uids = |kind: &str| -> Vec<String> {
        cluster.field(&[kind, "-A"], ".items[*].metadata.uid").split_whitespace().map(str::to_owned).collect()
    };
    let pods = cluster.pods("app in (web, store)");
    Kept {
        nodes: cluster.nodes(),
        uids: ["nodes", "namespaces", "services", "serviceaccounts", "daemonsets", "statefulsets", "deployments"]
            .map(|kind| (kind.to_owned(), uids(kind)))
            .into(),
        words: ["configmap", "secret"].map(|kind| cluster.field(&[kind, "kept"], ".data.word")).to_vec(),
        services: cluster.field(&["services", "-A"], ".items[*].spec.clusterIPs"),
        files: on_nodes("cat /var/lib/kcl/store/index.html 2>/dev/null || true"),
        certificates: on_nodes("sha256sum $(find /etc/kubernetes -name '*.crt' -o -name '*.conf' | sort)"),
        // The same pods on the same nodes; their addresses are new.
        pods: pods.into_iter().map(|pod| (pod.name, pod.node, pod.uid)).collect(),
        kubeconfig: std::fs::read_to_string(cluster.home.kubeconfig()).expect("the kubeconfig"),
    }
}

/// Every pod is up and reaches the services by name.
#[track_caller]
pub(crate) fn pods_answer(cluster: &TestCluster<'_>) {
    cluster.settled();
    cluster.rolled_out("daemonset/web");
    cluster.rolled_out("statefulset/store");
    let service: Ipv4Addr = cluster.field(&["service", "web"], ".spec.clusterIP").parse().expect("an address");
    let nodes = cluster.node_names();
    for pod in cluster.pods("app=web") {
        let page = |url: &str| page(cluster, &pod, url);
        assert!(nodes.contains(&page(&format!("http://{service}/"))));
        assert!(nodes.contains(&page("http://web.default.svc.cluster.local/")));
        for replica in ["store-0", "store-1"] {
            let url = format!("http://{replica}.store.default.svc.cluster.local/");
            assert_eq!(page(&url), format!("the data of {replica}"));
        }
    }
}

fn page(cluster: &TestCluster<'_>, from: &Pod, url: &str) -> String {
    eventually(&format!("{} gets {url}", from.name), || {
        let output = cluster.exec(&from.name, &format!("wget -q -O - {url}"));
        if output.succeeded() { Ok(output.ok().to_owned()) } else { Err(output.to_string()) }
    })
}
