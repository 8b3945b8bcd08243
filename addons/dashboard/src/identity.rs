//! As whom the API server is asked.

use serde::{Deserialize, Serialize};

/// Who a session is for. It never changes to one with more rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Identity {
    /// The user of the kubeconfig's context: the client certificate that kcl made.
    Own,
    /// The bearer of a token, without the certificate.
    Token(String),
    /// Another user, whom the certificate's owner impersonates
    /// (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation>).
    As {
        /// The name of the user.
        user: String,
        /// The groups of the user; none: those that the API server knows of.
        groups: Vec<String>,
    },
}
