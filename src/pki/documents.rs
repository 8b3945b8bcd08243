//! Kubeconfigs of components, and the configuration of encryption at rest. JSON, which is YAML too.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kcl_node_spec::ports;
use serde_json::{Value, json};

use crate::kubeconfig::{self, Entry};
use crate::pki::authority::KeyedCertificate;

/// Returns a kubeconfig with its keys, for the API servers by way of the node's loopback.
pub(super) fn kubeconfig(cluster: &str, user: &str, ca_pem: &str, pair: &KeyedCertificate) -> String {
    let server = format!("https://127.0.0.1:{}", ports::API_SERVER);
    let (cert_pem, key_pem) = (pair.cert_pem.as_str(), pair.key_pem.as_str());
    text(&kubeconfig::standalone(&Entry { profile: cluster, server: &server, ca_pem, cert_pem, key_pem }, user))
}

/// Returns a configuration that encrypts Secrets with `key`, and reads those that are not encrypted too.
pub(super) fn encryption(key: &[u8; 32]) -> String {
    text(&json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{
            "resources": ["secrets"],
            "providers": [
                { "secretbox": { "keys": [{ "name": "key1", "secret": STANDARD.encode(key) }] } },
                { "identity": {} },
            ],
        }],
    }))
}

/// Returns true if a text is of the kind that [`encryption`] returns.
pub(super) fn is_encryption(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|value| value["kind"] == "EncryptionConfiguration")
}

fn text(value: &Value) -> String {
    format!("{value:#}\n")
}
