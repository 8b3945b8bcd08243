//! The record of a node: what it keeps for its life, and where it is in it.

use std::net::SocketAddr;
use std::time::Duration;

use kcl_node_spec::{Addresses, Role, Subnets, ports};
use serde::{Deserialize, Serialize};

/// The record of a node for its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeRecord {
    /// The name of its Node object.
    pub name: String,
    /// The name of its machine, by which the driver knows it.
    pub machine: String,
    /// The role it was created with.
    pub role: Role,
    /// Its address on the node network.
    pub address: Addresses,
    /// The range of its pods.
    pub pod_cidr: Subnets,
    /// The version of Kubernetes that it runs.
    pub kubernetes_version: String,
    /// The key of the cache entry that its machine mounts; none before its first start.
    pub artifacts: Option<String>,
    /// Digests of its configuration; none before its first start.
    pub configured: Option<Configured>,
    /// The phase of its life in the cluster.
    #[serde(default, skip_serializing_if = "NodePhase::is_member")]
    pub phase: NodePhase,
}

/// The phase of a node's life in its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodePhase {
    /// It is a part of the cluster.
    #[default]
    Member,
    /// It is being added to a cluster that exists.
    Joining,
    /// It is being deleted.
    Leaving(Departure),
}

impl NodePhase {
    /// Returns true if the node is a part of the cluster.
    pub fn is_member(&self) -> bool {
        *self == NodePhase::Member
    }

    /// Returns the deletion of the node, if one has begun.
    pub fn departure(&self) -> Option<&Departure> {
        match self {
            NodePhase::Leaving(departure) => Some(departure),
            NodePhase::Member | NodePhase::Joining => None,
        }
    }
}

/// The deletion of a node. Whichever kcl resumes it knows from here what the user asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Departure {
    /// Pods that nothing recreates are evicted too.
    pub force: bool,
    /// Volumes that are on the node are deleted with it.
    pub delete_volumes: bool,
    /// The time that pods get to end; without it their own.
    pub grace_period: Option<Duration>,
    /// The longest time to wait for pods to end.
    pub timeout: Duration,
    /// Its pods are gone. From here on it cannot be kept.
    pub drained: bool,
}

impl NodeRecord {
    /// Returns the address at which the API server of this node listens.
    pub fn api_server(&self) -> SocketAddr {
        SocketAddr::new(self.address.primary(), ports::API_SERVER)
    }
}

/// Digests of a node's last configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Configured {
    /// The digest of its spec.
    pub whole: String,
    /// The digest of the part that it reads only at its start: all but the other nodes.
    pub own: String,
    /// The digest of its certificates, keys and kubeconfigs; empty if an older kcl configured it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub certificates: String,
}
