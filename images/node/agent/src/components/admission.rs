//! The configuration of admission plugins.

use serde_json::json;

/// The name of the configuration's file.
pub(super) const FILE: &str = "apiserver-admission.json";

/// Returns the configuration (`apiserver.config.k8s.io/v1`): a bound for events, which are the cheapest way to fill etcd,
/// and the level of Pod Security of namespaces that name none. These admit everything, as Kubernetes does, and the audit
/// log says which pods more than the level `baseline` would need; or with `harden` only what `baseline` allows, and the user
/// is warned of what `restricted` would not. Namespaces of kcl name their own.
pub(super) fn config(harden: bool) -> String {
    let (enforce, audit, warn) = match harden {
        false => ("privileged", "baseline", "privileged"),
        true => ("baseline", "restricted", "restricted"),
    };
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
                        "enforce": enforce,
                        "enforce-version": "latest",
                        "audit": audit,
                        "audit-version": "latest",
                        "warn": warn,
                        "warn-version": "latest",
                    },
                    "exemptions": { "usernames": [], "runtimeClasses": [], "namespaces": [] },
                },
            },
        ],
    });
    config.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::config;

    #[test]
    fn hardened_namespaces_admit_what_baseline_allows() {
        let levels = |harden| {
            let config: Value = serde_json::from_str(&config(harden)).unwrap();
            let defaults = &config["plugins"][1]["configuration"]["defaults"];
            ["enforce", "audit", "warn"].map(|mode| defaults[mode].as_str().unwrap().to_owned())
        };
        assert_eq!(levels(false), ["privileged", "baseline", "privileged"]);
        assert_eq!(levels(true), ["baseline", "restricted", "restricted"]);
    }
}
