//! The surroundings of a cluster: a proxy of the host, a webhook of a user that does not answer, and namespaces that admit
//! less.

use std::net::Ipv4Addr;

use crate::support::http::Listener;
use crate::support::{Home, IMAGE, eventually};

/// A webhook for ConfigMaps whose Service has no pods.
const NOBODY: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: nobody}
webhooks:
- name: nobody.example.org
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 1
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]
  clientConfig: {service: {namespace: default, name: nobody}}
"#;

#[test]
fn a_proxy_a_webhook_and_pod_security() {
    let home = Home::new("surroundings");
    let proxy = Listener::on(Ipv4Addr::UNSPECIFIED);
    let url = format!("http://host.kcl.internal:{}", proxy.port());
    home.set("HTTP_PROXY", &url);
    home.set("NO_PROXY", "corp.example");
    let cluster = home.start("around", &["--harden"]);

    home.step("images are pulled by the proxy");
    let environment = "tr '\\0' '\\n' </proc/$(pgrep -xo containerd)/environ | grep PROXY";
    let variables = cluster.ssh("around", environment).ok().to_owned();
    for part in [&format!("HTTP_PROXY={url}"), "corp.example", "10.244.0.0/16", ".svc", ".cluster.local"] {
        assert!(variables.contains(part), "{part}: {variables}");
    }
    cluster.ssh(
        "around",
        "mkdir -p /etc/containerd/certs.d/registry.test && \
         echo 'server = \"http://registry.test\"' >/etc/containerd/certs.d/registry.test/hosts.toml",
    );
    cluster.kcl(["image", "pull", "registry.test/x:1"]).fails();
    proxy.asked_for("http://registry.test/v2/x/manifests/1");
    cluster.kcl(["status"]).ok();

    home.step("the host has moved to a network without a proxy");
    home.set("HTTP_PROXY", "");
    let running = cluster.components("around");
    cluster.start(&[]).ok();
    assert_eq!(cluster.ssh("around", environment).stdout, "");
    let others = |components: Vec<(String, u64)>| {
        components.into_iter().filter(|(name, _)| name != "containerd").collect::<Vec<_>>()
    };
    assert_eq!(others(cluster.components("around")), others(running), "nothing else is restarted");

    home.step("a proxy that nodes do not reach");
    home.set("HTTP_PROXY", "http://user:secret@127.0.0.1:9");
    let output = cluster.start(&[]);
    output.ok();
    assert!(output.stderr.contains("on this host's loopback") && !output.stderr.contains("secret"), "{output}");
    home.set("HTTP_PROXY", "");

    home.step("namespaces that name no level admit what baseline allows");
    let image = format!("--image={IMAGE}");
    let privileged = ["run", "privileged", &image, "--restart=Never", "--privileged", "--", "true"];
    let refused = cluster.kubectl_try(privileged);
    assert!(refused.fails().contains("violates PodSecurity \"baseline"), "{refused}");
    let plain = cluster.kubectl_try(["run", "plain", &image, "--restart=Never", "--", "true"]);
    plain.ok();
    assert!(plain.stderr.contains("would violate PodSecurity \"restricted"), "{plain}");
    cluster.kubectl_try(["-n", "kube-system"].iter().chain(&privileged)).ok();
    cluster.settled();

    home.step("a webhook that does not answer is no reason to stop a cluster");
    cluster.apply(NOBODY);
    eventually("the webhook is in force", || {
        let made = cluster.kubectl_try(["create", "configmap", "never", "--dry-run=server"]);
        if made.succeeded() { Err(made.to_string()) } else { Ok(()) }
    });
    // A change of CoreDNS' ConfigMap, which the webhook refuses.
    let output = cluster.kcl(["start", "--nameservers", "192.0.2.1", "--wait-timeout", "20s"]);
    assert!(output.fails().contains("nobody.example.org"), "{output}");
    cluster.kcl(["status"]).ok();
    cluster.settled();
    cluster.kubectl(["delete", "validatingwebhookconfiguration", "nobody"]);
    cluster.kcl(["start", "--nameservers", "192.0.2.1"]).ok();
    let corefile = cluster.field(&["configmap", "coredns", "-n", "kube-system"], ".data.Corefile");
    assert!(corefile.contains("192.0.2.1"), "{corefile}");
}
