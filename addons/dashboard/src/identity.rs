//! The user as whom the console talks to the API server.

use serde::{Deserialize, Serialize};

/// The user of a session. A session never gains rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Identity {
    /// The user of the kubeconfig's context: the client certificate that kcl made.
    Own,
    /// The bearer of a token, without the certificate.
    Token(String),
    /// Another user, impersonated by the owner of the certificate
    /// (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation>).
    As {
        /// The name of the user.
        user: String,
        /// The groups of the user; if empty, those that the API server knows.
        groups: Vec<String>,
    },
}
