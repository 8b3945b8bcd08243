//! The audit log of the API server: who did what, without the content of requests (level `Metadata`).

use serde_json::json;

/// The name of the policy's file.
pub(super) const FILE: &str = "apiserver-audit.json";

/// Returns the policy (`audit.k8s.io/v1`). What only the machinery does, again and again, is left out: health checks,
/// leases, events, and the reads of the components themselves, except those of Secrets.
pub(super) fn policy() -> String {
    let reads = ["get", "list", "watch"];
    let components = ["kube-controller-manager", "kube-proxy", "kube-scheduler", "apiserver"];
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            { "level": "Metadata", "resources": [{ "group": "", "resources": ["secrets", "serviceaccounts/token"] }] },
            { "level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version", "/openapi/*"] },
            {
                "level": "None",
                "resources": [
                    { "group": "coordination.k8s.io", "resources": ["leases"] },
                    { "group": "", "resources": ["events"] },
                    { "group": "events.k8s.io", "resources": ["events"] },
                ],
            },
            { "level": "None", "users": components.map(|name| format!("system:{name}")), "verbs": reads },
            {
                "level": "None",
                "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"],
                "verbs": reads,
            },
            { "level": "Metadata" },
        ],
    });
    policy.to_string()
}
