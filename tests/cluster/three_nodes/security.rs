//! Tests requests that a cluster refuses, and data that it hides.

use std::path::PathBuf;

use crate::support::http::status_for_a_stranger;
use crate::support::{Output, TestCluster};

/// kubectl as the one of a kubeconfig, towards a server that is not the one in it.
fn ask(cluster: &TestCluster<'_>, kubeconfig: &str, server: &str, arguments: &[&str]) -> Output {
    let own = [format!("--kubeconfig={kubeconfig}"), format!("--server={server}")];
    cluster.kubectl_try(own.iter().map(String::as_str).chain(arguments.iter().copied()))
}

pub(crate) fn strangers_are_refused(cluster: &TestCluster<'_>) {
    const UNAUTHORIZED: u16 = 401;
    const FORBIDDEN: u16 = 403;
    for node in cluster.node_names() {
        let address = cluster.address(&node);
        for path in ["/pods", "/metrics", "/configz", "/containerLogs/kube-system/x/y", "/run/default/x/y"] {
            let url = format!("https://{address}:10250{path}");
            assert_eq!(status_for_a_stranger(&url), Ok(UNAUTHORIZED), "{url}");
        }
        // Ports of old without authentication, and those for the node alone.
        for port in [10248, 10249, 10255] {
            let url = format!("http://{address}:{port}/metrics");
            let answer = status_for_a_stranger(&url);
            assert!(answer.as_ref().is_err_and(|error| error.contains("refused")), "{url}: {answer:?}");
        }
    }
    let control_plane = cluster.address("three");
    for path in ["/api/v1/secrets", "/api/v1/nodes", "/metrics", "/logs/", "/debug/pprof/"] {
        let url = format!("https://{control_plane}:6443{path}");
        let answer = status_for_a_stranger(&url);
        assert!(matches!(answer, Ok(UNAUTHORIZED | FORBIDDEN)), "{url}: {answer:?}");
    }
    for port in [2379, 2380] {
        let answer = status_for_a_stranger(&format!("https://{control_plane}:{port}/health"));
        assert!(answer.as_ref().is_err_and(|error| error.contains("CertificateRequired")), "etcd: {answer:?}");
    }
    // The controller manager, the scheduler, etcd's metrics: for the control plane itself.
    for (scheme, port) in [("https", 10257), ("https", 10259), ("http", 2381)] {
        let url = format!("{scheme}://{control_plane}:{port}/metrics");
        let answer = status_for_a_stranger(&url);
        assert!(answer.as_ref().is_err_and(|error| error.contains("refused")), "{url}: {answer:?}");
    }
}

pub(crate) fn a_kubelet_may_only_speak_for_its_own_node(cluster: &TestCluster<'_>) {
    let credentials = |node: &str| -> PathBuf {
        let conf = cluster.ssh(node, "cat /etc/kubernetes/kubelet.conf");
        cluster.home.file(&format!("{node}.conf"), conf.ok())
    };
    let api = format!("https://{}:6443", cluster.address("three"));
    let own = credentials("three-m02").display().to_string();
    let as_kubelet = |arguments: &[&str]| ask(cluster, &own, &api, arguments);
    let forbidden = |answer: Output| assert!(answer.fails().contains("forbidden"), "{answer}");

    as_kubelet(&["get", "node", "three-m02"]).ok();
    as_kubelet(&["label", "node", "three-m02", "example.org/mine=yes"]).ok();
    forbidden(as_kubelet(&["label", "node", "three-m02", "node-restriction.kubernetes.io/x=y"]));
    forbidden(as_kubelet(&["label", "node", "three-m03", "example.org/mine=yes"]));
    forbidden(as_kubelet(&["delete", "node", "three-m03"]));

    // A Secret is for the node that runs a pod with it, and for no other.
    cluster.kubectl(["create", "secret", "generic", "of-m03", "--from-literal=word=sesame"]);
    cluster.apply(SECRET_USER);
    cluster.wait_for("condition=Ready", &["pod/secret-user"]);
    forbidden(as_kubelet(&["get", "secret", "of-m03"]));
    forbidden(as_kubelet(&["get", "secrets", "-A"]));
    let other = credentials("three-m03").display().to_string();
    ask(cluster, &other, &api, &["get", "secret", "of-m03"]).ok();
    forbidden(as_kubelet(&["delete", "pod", "secret-user"]));
    cluster.kubectl(["delete", "pod", "secret-user", "--now"]);
}

const SECRET_USER: &str = "
apiVersion: v1
kind: Pod
metadata: {name: secret-user, namespace: default}
spec:
  nodeName: three-m03
  containers:
    - name: user
      image: IMAGE
      command: [sleep, '3600']
      envFrom: [{secretRef: {name: of-m03}}]
";

pub(crate) fn secrets_are_encrypted_at_rest(cluster: &TestCluster<'_>) {
    // As text, and as etcd would hold it of a Secret that is not encrypted: the API's own bytes.
    let (hidden, open) = ("plainly-hidden-from-etcd", "plainly-open-in-etcd");
    cluster.kubectl(["create", "secret", "generic", "at-rest", &format!("--from-literal=word={hidden}")]);
    cluster.kubectl(["create", "configmap", "at-rest", &format!("--from-literal=word={open}")]);
    let find = |text: &str| cluster.ssh("three", &format!("grep -rlaF -e '{text}' /var/lib/etcd"));
    assert!(!find(open).ok().is_empty(), "the search finds what is there");
    find("/registry/secrets/default/at-rest").ok();
    find("k8s:enc:").ok();
    assert_eq!(find(hidden).fails_with(1), "");
}

pub(crate) fn nothing_listens_on_the_host(cluster: &TestCluster<'_>) {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let host = namespace("self");
    let traces = cluster.traces();
    assert!(!traces.processes.is_empty(), "{traces:#?}");
    for (pid, what) in &traces.processes {
        assert_ne!(namespace(&pid.to_string()), host, "{what} is in the host's network namespace");
    }
}
