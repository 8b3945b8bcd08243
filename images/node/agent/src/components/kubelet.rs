//! The process of the kubelet.

use std::time::Duration;

use kcl_node_spec::{NodeSpec, Taint, ports};
use serde_json::{Value, json};

use super::flags::Flags;
use super::tls::CIPHER_SUITES;
use super::{After, Liveness, Process, Readiness, containerd};
use crate::facts::Facts;
use crate::paths::{self, KUBELET_CONF, pki, pki_file};

const CONFIG: &str = "kubelet.json";

/// Returns the process of the kubelet.
pub(super) fn process(spec: &NodeSpec, facts: &Facts) -> Process {
    Process {
        name: "kubelet",
        args: flags(spec).args(),
        formation: Vec::new(),
        files: vec![(CONFIG, format!("{:#}\n", config(spec, facts)))],
        reads: vec![KUBELET_CONF.to_owned()],
        proxied: false,
        readiness: Readiness::Notify,
        liveness: Liveness::Http(ports::KUBELET_HEALTH, "/healthz"),
        after: &[After::Ready("containerd")],
        grace: Duration::from_secs(2),
        bounded_view: true,
        urgent: false,
        hands_over: false,
    }
}

fn flags(spec: &NodeSpec) -> Flags {
    let mut flags = Flags::default();
    flags
        .set("config", paths::rendered(CONFIG).to_string_lossy())
        .set("kubeconfig", KUBELET_CONF)
        .set("hostname-override", spec.name.as_str())
        .set("node-ip", spec.address.to_string());
    // Flags override the configuration file.
    flags.extra(spec, "kubelet");
    flags
}

fn config(spec: &NodeSpec, facts: &Facts) -> Value {
    let mut gates = spec.kubernetes.feature_gates.clone();
    if !facts.cap_sys_resource {
        // The feature lets the kubelet continue if a sysctl or an OOM score cannot be set; it has no other effect.
        gates.entry("KubeletInUserNamespace".to_owned()).or_insert(true);
    }
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": pki_file(pki::CA_CERT) },
        },
        "authorization": { "mode": "Webhook" },
        "cgroupDriver": "cgroupfs",
        "clusterDNS": spec.network.cluster_dns.iter().collect::<Vec<_>>(),
        "clusterDomain": spec.network.dns_domain,
        "containerRuntimeEndpoint": format!("unix://{}", containerd::SOCKET),
        "enforceNodeAllocatable": [],
        // A small disk is no reason to evict pods or to delete images.
        "evictionHard": {
            "imagefs.available": "0%",
            "memory.available": "0%",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "failCgroupV1": false,
        "failSwapOn": false,
        "featureGates": gates,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": ports::KUBELET_HEALTH,
        "makeIPTablesUtilChains": false,
        "maxParallelImagePulls": 4,
        "serializeImagePulls": false,
        // A restarted node is Ready at once: the kubelet's quick first reports end when they see Ready, which an
        // earlier run may have left, and the first report may come before the node's CSINode exists.
        "nodeStatusUpdateFrequency": "1s",
        "nodeStatusReportFrequency": "5m",
        // Fewer than a machine has, so that a pod that only forks harms itself and no other.
        "podPidsLimit": if facts.pids { 4096 } else { -1 },
        "readOnlyPort": 0,
        "registerWithTaints": taints(spec),
        "resolvConf": facts.resolv_conf,
        "rotateCertificates": false,
        "seccompDefault": facts.seccomp,
        "serverTLSBootstrap": false,
        "shutdownGracePeriod": "0s",
        "shutdownGracePeriodCriticalPods": "0s",
        "tlsCipherSuites": CIPHER_SUITES,
        "tlsCertFile": pki_file(pki::KUBELET_SERVER_CERT),
        "tlsPrivateKeyFile": pki_file(pki::KUBELET_SERVER_KEY),
    })
}

fn taints(spec: &NodeSpec) -> Vec<Value> {
    let taint = |taint: &Taint| json!({"key": taint.key, "value": taint.value, "effect": taint.effect.name()});
    spec.kubernetes.taints.iter().map(taint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{facts, spec};

    #[test]
    fn a_node_registers_with_its_taints() {
        let mut spec = spec();
        assert_eq!(config(&spec, &facts())["registerWithTaints"], json!([]));
        spec.kubernetes.taints = vec!["gpu=a100:NoSchedule".parse().unwrap()];
        let taint = json!({"key": "gpu", "value": "a100", "effect": "NoSchedule"});
        assert_eq!(config(&spec, &facts())["registerWithTaints"], json!([taint]));
    }

    #[test]
    fn a_machine_with_all_capabilities_needs_no_gate() {
        assert_eq!(config(&spec(), &facts())["featureGates"]["KubeletInUserNamespace"], true);
        let facts = Facts { cap_sys_resource: true, ..facts() };
        assert_eq!(config(&spec(), &facts)["featureGates"], json!({}));
    }
}
