//! Ingress and registry on one cluster of three nodes, as they are used together.

use crate::support::Home;
use crate::{ingress, registry};

#[test]
fn ingress_and_registry() {
    let home = Home::new("web");
    let ports = format!("127.0.0.1:{}:80,127.0.0.1:{}:443", ingress::HTTP, ingress::HTTPS);
    let cluster = home.start("web", &["--nodes", "3", "--ports", &ports, "--addons", "ingress,registry"]);
    ingress::story(&cluster);
    registry::story(&cluster);
    registry::chart(&cluster);
    // Others' annotations and classes went with it, and what users stored did not.
    cluster.kcl(["addons", "disable", "ingress", "registry"]).ok();
    for kind in ["ingressclass", "namespace/kcl-ingress", "crd/gateways.gateway.networking.k8s.io"] {
        let left = cluster.kubectl(["get", kind, "--ignore-not-found", "-o", "name"]);
        assert_eq!(left, "", "{kind} is left");
    }
    assert_eq!(cluster.ssh("web-m02", "ls /etc/containerd/certs.d").ok(), "");
    // The chart is kept.
    cluster.start(&[]).ok();
    cluster.kcl(["addons", "disable", "greets"]).ok();
    cluster.kcl(["addons", "enable", "registry"]).ok();
    registry::kept(&cluster);
}
