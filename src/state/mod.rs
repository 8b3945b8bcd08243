//! The state of a cluster that cannot be observed: its spec, its addresses, its phase. Atomic, locked, with a schema
//! number.

mod home;
mod lifetime;
mod lock;
mod migrate;
mod node;
mod paths;
mod process;
mod store;

pub use lifetime::{End, Lifetime};
pub use lock::ClusterLock;
pub use migrate::SCHEMA;
pub use node::{Configured, Departure, NodePhase, NodeRecord};
pub use paths::Paths;
pub use process::{Found, ProcessId};
pub use store::Store;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use kcl_driver_api::{Protocol, PublishedPort};
use kcl_driver_local::process::by_sudo;
use kcl_node_spec::{Addresses, Proxy, Role, Subnets, ports};
use serde::{Deserialize, Serialize};

use crate::config::ClusterSpec;
use crate::error::{Error, Id, Result};

/// The state of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterState {
    /// The schema of the file, [`SCHEMA`].
    pub schema: u32,
    /// The spec that the user requested last.
    pub spec: ClusterSpec,
    /// The node network.
    pub subnet: Subnets,
    /// Its nodes, with the addresses that they keep.
    pub nodes: Vec<NodeRecord>,
    /// The address at which this host reaches its API, if no control plane's own address leads there.
    #[serde(default)]
    pub api: Option<ApiEndpoint>,
    /// The address of the API on the node network, which one of the control planes holds; none where their hosts' network is
    /// not kcl's, and in clusters of an older kcl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_address: Option<Addresses>,
    /// The phase of its life.
    pub phase: Phase,
    /// The time of its creation.
    pub created: jiff::Timestamp,
    /// The lifetime of the cluster.
    #[serde(default)]
    pub lifetime: Lifetime,
    /// Marks a spare cluster, which waits for its user.
    #[serde(default)]
    pub spare: bool,
    /// The proxy by which nodes pull images: that of the environment of the last start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
}

impl ClusterState {
    /// Returns the nodes that serve the API.
    pub fn control_planes(&self) -> impl Iterator<Item = &NodeRecord> {
        self.nodes.iter().filter(|node| node.role == Role::ControlPlane)
    }

    /// Returns the address at which this host reaches the API, for the life of the cluster.
    ///
    /// # Errors
    /// Fails if the cluster has no control plane.
    pub fn endpoint(&self) -> Result<SocketAddr> {
        let shared = self.api_address.map(|shared| SocketAddr::new(shared.primary(), ports::API_SERVER));
        let direct = self.control_planes().next().map(NodeRecord::api_server);
        self.api.map(|api| api.address).or(shared).or(direct).ok_or_else(|| {
            Error::new(Id::ClusterIncomplete, format!("cluster \"{}\" has no control plane", self.spec.name))
        })
    }

    /// Returns the record of a node.
    pub fn node(&self, name: &str) -> Option<&NodeRecord> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Sets the phase of a node.
    pub fn set_node_phase(&mut self, name: &str, phase: NodePhase) {
        if let Some(node) = self.nodes.iter_mut().find(|node| node.name == name) {
            node.phase = phase;
        }
    }

    /// Returns the nodes that are emptied already and have to go, whatever else is wanted.
    pub fn drained(&self) -> impl Iterator<Item = &NodeRecord> {
        self.nodes.iter().filter(|node| node.phase.departure().is_some_and(|departure| departure.drained))
    }
}

/// The API of a cluster whose machines this host does not reach by their addresses: a published port of the control
/// plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ApiEndpoint {
    /// The address on this host; kept for the cluster's life, as kubeconfigs name it.
    pub address: SocketAddr,
    /// The address that the engine binds the port to, on the engine's host.
    pub bind: IpAddr,
}

impl ApiEndpoint {
    /// The port that the control plane's machine publishes.
    pub fn port(&self) -> PublishedPort {
        PublishedPort {
            address: self.bind,
            port: self.address.port(),
            machine_port: ports::API_SERVER,
            protocol: Protocol::Tcp,
        }
    }
}

/// The phase of a cluster's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Its first start has not finished: it may be incomplete.
    Creating,
    /// It has been complete.
    Created,
    /// Its deletion has begun.
    Deleting,
}

/// Adds what to do about a home whose files belong to another user.
fn denied(error: Error, home: &Path) -> Error {
    error
        .hint(format!("if kcl was run by sudo before, run it so again: {} …", by_sudo()))
        .hint(format!("or use a directory of your own by KCL_HOME instead of {}", home.display()))
}
