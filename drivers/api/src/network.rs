//! The network between the machines of a cluster.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Addresses, Subnets};

/// The network that kcl wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The cluster that the network belongs to.
    pub cluster: String,
    /// The addresses of the network.
    pub subnet: Subnets,
    /// A bridge of this host that another driver made for the same cluster, with the subnet's gateway address on it, to
    /// which the machines are attached. Without one, the driver makes its own network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// The addresses of the cluster's machines that are elsewhere and come to this network by a route over this host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Addresses>,
}

impl NetworkSpec {
    /// Returns a network that the driver makes itself.
    pub fn new(cluster: impl Into<String>, subnet: Subnets) -> Self {
        NetworkSpec { cluster: cluster.into(), subnet, bridge: None, peers: Vec::new() }
    }
}

/// The network as the driver made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The addresses of the network.
    pub subnet: Subnets,
    /// The address by which machines reach the host that runs kcl; none if they cannot.
    pub host: Option<Addresses>,
    /// The bridge of this host that the machines are on, if others can join one.
    pub bridge: Option<String>,
    /// The attachment of a machine.
    pub link: Link,
    /// Machines that are attached in another way, by name.
    pub links: BTreeMap<String, Link>,
}

impl Network {
    /// Returns the attachment of the machine of that name.
    pub fn link(&self, machine: &str) -> &Link {
        self.links.get(machine).unwrap_or(&self.link)
    }
}

/// The attachment of a machine to its network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The interface's name in the machine.
    pub interface: String,
    /// The network on the same segment, reached without a router.
    pub subnet: Subnets,
    /// The router that the node agent sets as the default route; none if the engine or the host's own configuration
    /// does so.
    pub gateway: Option<Addresses>,
    /// The largest packet that fits, in bytes.
    pub mtu: u32,
    /// The address by which the machine reaches the host that runs kcl, if it differs from the network's.
    pub host: Option<Addresses>,
    /// The segment changes the sender of packets to addresses outside the subnet: packets of pods cannot cross it as
    /// they are.
    #[serde(default)]
    pub masquerades: bool,
}
