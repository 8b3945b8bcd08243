//! A kubeconfig with one cluster alone, for a component of a node or a program that kcl runs. JSON, which is YAML too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Entry;

/// Returns a kubeconfig with the cluster of an entry, and its credentials under the name `user`.
pub fn standalone(entry: &Entry<'_>, user: &str) -> Value {
    let (cluster, context) = (entry.profile, format!("{user}@{}", entry.profile));
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": cluster,
            "cluster": {
                "server": entry.server,
                "certificate-authority-data": STANDARD.encode(entry.ca_pem),
            },
        }],
        "users": [{
            "name": user,
            "user": {
                "client-certificate-data": STANDARD.encode(entry.cert_pem),
                "client-key-data": STANDARD.encode(entry.key_pem),
            },
        }],
        "contexts": [{ "name": context, "context": { "cluster": cluster, "user": user } }],
        "current-context": context,
    })
}
