//! The policy engine, which makes NetworkPolicies hold on the node.

use std::time::Duration;

use kcl_node_spec::NodeSpec;

use super::{Liveness, Process, Readiness};
use crate::paths::{POLICY_CONF, POLICY_SOCKET};

/// The name of the engine's program, and of its plugin in the container network.
pub(crate) const NAME: &str = "kcl-policy";

/// Returns the process of the engine. It is ready when it takes requests: pods wait for it, and it waits for the API.
pub(super) fn process(spec: &NodeSpec) -> Process {
    Process {
        name: NAME,
        args: vec![spec.name.clone(), POLICY_CONF.to_owned()],
        formation: Vec::new(),
        files: Vec::new(),
        reads: vec![POLICY_CONF.to_owned()],
        proxied: false,
        readiness: Readiness::Notify,
        liveness: Liveness::Line(POLICY_SOCKET, r#"{"do":"ping"}"#),
        after: &[],
        grace: Duration::from_secs(2),
        bounded_view: false,
        urgent: false,
        hands_over: false,
    }
}
