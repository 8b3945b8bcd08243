//! The messages between the plugin and the engine: a line of JSON each.

use kcl_policy::compile::Claim;
use serde::{Deserialize, Serialize};

/// A request to the engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Returns once the policies of a pod hold for its addresses.
    Claim {
        /// The namespace of the pod.
        namespace: String,
        /// The name of the pod.
        name: String,
        /// The addresses of the pod.
        claim: Claim,
    },
    /// Notes that the network of a sandbox is gone.
    Release {
        /// The namespace of the pod.
        namespace: String,
        /// The name of the pod.
        name: String,
        /// The id of the sandbox.
        sandbox: String,
    },
    /// Returns at once, for the node agent's probe.
    Ping,
}

/// The reply to a request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The reason why the request failed.
    pub error: Option<String>,
}
