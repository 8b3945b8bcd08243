//! The configuration of admission plugins.

use serde_json::json;

/// The name of the configuration's file.
pub const FILE: &str = "apiserver-admission.json";

/// Returns the configuration (`apiserver.config.k8s.io/v1`): a bound for events, which are the cheapest way to fill etcd,
/// and the level of Pod Security of namespaces that name none. These admit everything, as Kubernetes does, and the audit
/// log says which pods more than the level `baseline` would need.
pub fn config() -> String {
    let config = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [
            {
                "name": "EventRateLimit",
                "configuration": {
                    "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1",
                    "kind": "Configuration",
                    "limits": [{ "type": "Server", "qps": 1000, "burst": 10000 }],
                },
            },
            {
                "name": "PodSecurity",
                "configuration": {
                    "apiVersion": "pod-security.admission.config.k8s.io/v1",
                    "kind": "PodSecurityConfiguration",
                    "defaults": {
                        "enforce": "privileged",
                        "enforce-version": "latest",
                        "audit": "baseline",
                        "audit-version": "latest",
                        "warn": "privileged",
                        "warn-version": "latest",
                    },
                    "exemptions": { "usernames": [], "runtimeClasses": [], "namespaces": [] },
                },
            },
        ],
    });
    config.to_string()
}
