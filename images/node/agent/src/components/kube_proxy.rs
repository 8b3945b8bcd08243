//! kube-proxy, in nftables mode.

use std::time::Duration;

use kcl_node_spec::{NodeSpec, ports};
use serde_json::{Map, Value, json};

use super::flags::extra;
use super::{After, Liveness, Process, Readiness};
use crate::facts::Facts;
use crate::paths::{self, KUBE_PROXY_CONF};

const CONFIG: &str = "kube-proxy.json";

/// Returns the process of kube-proxy.
pub(super) fn process(spec: &NodeSpec, facts: &Facts) -> Process {
    Process {
        name: "kube-proxy",
        args: vec![format!("--config={}", paths::rendered(CONFIG).display())],
        formation: Vec::new(),
        files: vec![(CONFIG, format!("{:#}\n", config(spec, facts)))],
        reads: vec![KUBE_PROXY_CONF.to_owned()],
        proxied: false,
        readiness: Readiness::Http(ports::KUBE_PROXY_HEALTH),
        liveness: Liveness::Http(ports::KUBE_PROXY_HEALTH, "/livez"),
        after: &[After::Ready("containerd")],
        grace: Duration::from_secs(2),
        bounded_view: false,
        urgent: false,
        hands_over: false,
    }
}

fn config(spec: &NodeSpec, facts: &Facts) -> Value {
    let mut config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": spec.address.primary(),
        "clientConnection": { "kubeconfig": KUBE_PROXY_CONF },
        "clusterCIDR": spec.network.cluster_cidr,
        "detectLocalMode": "ClusterCIDR",
        // Limits of connection tracking belong to the whole kernel and stay unchanged.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "featureGates": spec.kubernetes.feature_gates,
        "healthzBindAddress": format!("127.0.0.1:{}", ports::KUBE_PROXY_HEALTH),
        "metricsBindAddress": format!("127.0.0.1:{}", ports::KUBE_PROXY_METRICS),
        "hostnameOverride": spec.name,
        "mode": "nftables",
        // The periods of changes: services work at once, and a burst is one change.
        "nftables": { "minSyncPeriod": "100ms" },
        "oomScoreAdj": if facts.oom_adjustable { -999 } else { 0 },
    });
    for (path, value) in extra(spec, "kube-proxy") {
        set(&mut config, path, value);
    }
    config
}

/// Sets the value at a dotted path. Numbers, booleans, lists and objects are written as in JSON; all else is text.
fn set(config: &mut Value, path: &str, value: &str) {
    let mut place = config;
    for key in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[key];
    }
    *place = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{facts, spec};

    #[test]
    fn the_user_sets_paths_into_the_file() {
        let mut spec = spec();
        let wanted = [
            ("conntrack.maxPerCore".to_owned(), "16".to_owned()),
            ("logging.format".to_owned(), "json".to_owned()),
            ("mode".to_owned(), "iptables".to_owned()),
        ];
        spec.kubernetes.extra.insert("kube-proxy".to_owned(), wanted.into());
        let config = config(&spec, &facts());
        assert_eq!(config["conntrack"]["maxPerCore"], 16);
        assert_eq!(config["conntrack"]["min"], 0);
        assert_eq!(config["logging"]["format"], "json");
        assert_eq!(config["mode"], "iptables");
    }
}
