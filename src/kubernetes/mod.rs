//! The client side of Kubernetes: a connection, server-side apply, waits as watches.

mod apply;
mod client;
mod drain;
mod field_path;
mod keep;
mod manifest;
mod node;
mod patch;
mod resources;
mod unknown;
mod volumes;
mod wait;

pub use apply::{Patience, apply};
pub use client::{Access, Credentials, connect, ready, serves};
pub use drain::{Drain, discard_pods, drain};
pub use keep::{Attempt, apply_beside_others};
pub use manifest::{EXTENSIONS, documents, is_manifest, text};
pub use node::{change as change_node, cordon, is_cordoned, node, reach_kubelet, reinstate, retire};
pub use resources::{Resources, api_of};
pub use volumes::{Volume, delete_volumes, volumes_only_on};
pub use wait::{
    Fresh, addresses_moved, default_service_account, dns_available, node_is_ready, nodes_ready, pods_ready_again,
    ready_pods,
};

/// The field manager by which kcl owns fields of objects
/// (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>).
pub const FIELD_MANAGER: &str = "kcl";

/// The number of objects that are applied at once: enough to hide the round trips.
const AT_ONCE: usize = 16;
