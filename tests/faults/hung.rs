//! Components that run but no longer answer: they are restarted, and the cluster recovers.

use crate::support::{Home, eventually};

const COMPONENTS: [&str; 8] = [
    "etcd",
    "kube-apiserver",
    "containerd",
    "kubelet",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kcl-policy",
];

#[test]
fn components_that_hang() {
    let home = Home::new("hung");
    let cluster = home.start("hung", &[]);
    cluster.kubectl(["create", "configmap", "precious", "--from-literal=a=b"]);
    let restarts = |name: &str| {
        let status = cluster.ssh("hung", "/opt/kcl/agent/kcl-node status; true").json();
        let found = status["components"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name));
        found.and_then(|one| one["restarts"].as_u64()).unwrap_or_else(|| panic!("{name}: {status:#}"))
    };

    home.step("all of them");
    let pids: Vec<String> = cluster.components("hung").iter().map(|(_, pid)| pid.to_string()).collect();
    cluster.ssh("hung", &format!("kill -STOP {}", pids.join(" "))).ok();
    eventually("it is noticed", || {
        let status = cluster.kcl(["status"]);
        if status.code == Some(2) { Ok(()) } else { Err(status.to_string()) }
    });
    for name in COMPONENTS {
        eventually("it is restarted", || if restarts(name) > 0 { Ok(()) } else { Err(name.to_owned()) });
    }
    eventually("the node recovers", || {
        let status = cluster.kcl(["status"]);
        if status.succeeded() { Ok(()) } else { Err(status.to_string()) }
    });
    cluster.settled();
    assert_eq!(cluster.field(&["configmap", "precious"], ".data.a"), "b");
    assert_eq!(cluster.run_on("hung", "after", "echo it runs"), "it runs");
}
