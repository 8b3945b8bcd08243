//! Resource metrics: `kubectl top` tells who is busy, and an autoscaler acts on it.

use crate::support::{TestCluster, eventually};

/// Pods of which it is known what they do: two for all to look at, and one to be scaled.
pub(crate) fn make_load(cluster: &TestCluster<'_>) {
    cluster.apply(include_str!("manifests/load.yaml"));
    cluster.wait_for("condition=Ready", &["pod/busy", "pod/idle"]);
}

/// A computation shows in the metrics of the pod and of its node.
pub(crate) fn top_shows_load(cluster: &TestCluster<'_>) {
    let count = cluster.node_names().len();
    eventually("top shows all nodes and who is busy", || {
        let nodes = cluster.kubectl_try(["top", "nodes", "--no-headers"]);
        let pods = cluster.kubectl_try(["top", "pods", "--no-headers"]);
        let (busy, idle) = (millicores(&pods.stdout, "busy"), millicores(&pods.stdout, "idle"));
        let unknown = nodes.stdout.contains("<unknown>") || nodes.stdout.lines().count() != count;
        match (nodes.succeeded() && !unknown, busy, idle) {
            (true, Some(busy), Some(idle)) if busy >= 20 && busy > 10 * idle => Ok(()),
            _ => Err(format!("{nodes}\n{pods}")),
        }
    });
}

fn millicores(table: &str, pod: &str) -> Option<u64> {
    let row = table.lines().find(|line| line.split_whitespace().next() == Some(pod))?;
    row.split_whitespace().nth(1)?.strip_suffix('m')?.parse().ok()
}

/// Nothing that is checked could be anybody: not the kubelets, not metrics-server.
pub(crate) fn certificates_are_checked(cluster: &TestCluster<'_>) {
    let service = cluster.get(&["apiservice", "v1beta1.metrics.k8s.io"]);
    assert!(service["spec"]["caBundle"].as_str().is_some_and(|text| !text.is_empty()), "{service:#}");
    assert_ne!(service["spec"]["insecureSkipTLSVerify"], true, "{service:#}");
    let flags =
        cluster.field(&["deployment", "metrics-server", "-n", "kube-system"], ".spec.template.spec.containers[0].args");
    assert!(flags.contains("--kubelet-certificate-authority=") && !flags.contains("insecure"), "{flags}");
}

/// More pods where there is load.
pub(crate) fn an_autoscaler_scales(cluster: &TestCluster<'_>) {
    cluster.rolled_out("deployment/elastic");
    cluster.wait_for("jsonpath={.status.readyReplicas}=3", &["deployment/elastic"]);
    let scaler = cluster.get(&["hpa", "elastic"]);
    assert!(scaler["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"].as_u64() > Some(50));
}
