//! Another version of Kubernetes than the newest.

use crate::support::Home;

#[test]
fn an_older_version_runs() {
    let home = Home::new("other-version");
    let cluster = home.start("older", &["--nodes", "2", "--kubernetes-version", "v1.36"]);
    let version = cluster.kubectl_try(["version", "-o", "json"]).json();
    let wanted = version["serverVersion"]["gitVersion"].as_str().expect("a version");
    assert!(wanted.starts_with("v1.36."), "{version:#}");
    assert_eq!(version["clientVersion"]["gitVersion"], wanted, "kubectl fits");
    let nodes = cluster.field(&["nodes"], ".items[*].status.nodeInfo.kubeletVersion");
    assert_eq!(nodes, format!("{wanted} {wanted}"));
    for node in cluster.node_names() {
        let line = "nslookup kubernetes.default.svc.cluster.local && echo works";
        assert!(cluster.run_on(&node, "works", line).ends_with("works"));
    }
    // A less exact version is the one that is there, and another one is refused.
    cluster.start(&["--kubernetes-version", "1.36"]).ok();
    let said = cluster.start(&["--kubernetes-version", "v1.37"]);
    assert!(said.fails_with(64).contains("kubernetes-version"), "{said}");
}
