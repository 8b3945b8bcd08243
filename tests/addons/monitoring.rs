//! Prometheus: it asks all nodes, containers and who wants to be asked, and keeps the answers.

use serde_json::Value;

use crate::support::{TestCluster, eventually};

/// All that it should ask answers.
pub(crate) fn all_targets_are_up(cluster: &TestCluster<'_>) {
    let nodes = cluster.node_names().len() as f64;
    for (job, count) in
        [("apiserver", 1.0), ("kubelet", nodes), ("cadvisor", nodes), ("node", nodes), ("prometheus", 1.0)]
    {
        value(cluster, &format!("count(up{{job=\"{job}\"}} == 1)"), |found| found == count);
        value(cluster, &format!("count(up{{job=\"{job}\"}})"), |found| found == count);
    }
    // After a restart the pod has another address, and its series of before is seen for some minutes more.
    value(cluster, "count(up{job=\"services\",service=\"kube-dns\"} == 1)", |found| found >= 1.0);
    value(cluster, "count by (node) (node_memory_MemAvailable_bytes) == 1", |found| found == 1.0);
}

/// Containers show what they do, and a pod with annotations is asked.
pub(crate) fn pods_are_seen(cluster: &TestCluster<'_>) {
    let rate = |pod: &str| format!("sum(rate(container_cpu_usage_seconds_total{{pod=\"{pod}\",container!=\"\"}}[1m]))");
    value(cluster, &format!("{} > 10 * {}", rate("busy"), rate("idle")), |found| found > 0.02);
    value(cluster, "container_memory_working_set_bytes{pod=\"idle\",container=\"idle\"}", |found| found > 0.0);
    value(cluster, "answer{pod=\"idle\",namespace=\"default\"}", |found| found == 42.0);
}

/// A moment of which there is data, in seconds.
pub(crate) fn moment(cluster: &TestCluster<'_>) -> f64 {
    value(cluster, "timestamp(answer)", |found| found > 0.0)
}

/// Earlier samples are still available.
pub(crate) fn history_is_kept(cluster: &TestCluster<'_>, moment: f64) {
    value(cluster, &format!("answer @ {moment}"), |found| found == 42.0);
}

/// Asks until the first value of the answer is right.
#[track_caller]
fn value(cluster: &TestCluster<'_>, query: &str, right: impl Fn(f64) -> bool) -> f64 {
    eventually(query, || {
        let address = reqwest::Url::parse_with_params("http://x/api/v1/query", [("query", query)]).expect("an address");
        let path = format!(
            "/api/v1/namespaces/kcl-monitoring/services/prometheus:9090/proxy{}?{}",
            address.path(),
            address.query().unwrap_or_default()
        );
        let answer = cluster.kubectl_try(["get", "--raw", &path]);
        let parsed: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
        let found = parsed["data"]["result"][0]["value"][1].as_str().and_then(|text| text.parse().ok());
        found.filter(|found| right(*found)).ok_or_else(|| answer.to_string())
    })
}
