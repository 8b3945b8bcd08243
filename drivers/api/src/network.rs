//! The network between the machines of a cluster.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Addresses, Subnets};

/// The network that kcl wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The cluster it belongs to.
    pub cluster: String,
    /// Its addresses.
    pub subnet: Subnets,
    /// A bridge of this host that another driver made for the same cluster, with the subnet's gateway address on it: the
    /// machines are attached to it. None: the driver makes its own network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
}

impl NetworkSpec {
    /// A network that the driver makes itself.
    pub fn new(cluster: impl Into<String>, subnet: Subnets) -> Self {
        NetworkSpec { cluster: cluster.into(), subnet, bridge: None }
    }
}

/// The network as the driver made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its addresses.
    pub subnet: Subnets,
    /// By which address machines reach the host that runs kcl; none where they cannot.
    pub host: Option<Addresses>,
    /// The bridge of this host that the machines are on, where there is one that others could join.
    pub bridge: Option<String>,
    /// How a machine is attached.
    pub link: Link,
    /// Machines that are attached in another way, by name.
    pub links: BTreeMap<String, Link>,
}

impl Network {
    /// How the machine of that name is attached.
    pub fn link(&self, machine: &str) -> &Link {
        self.links.get(machine).unwrap_or(&self.link)
    }
}

/// How a machine is attached to its network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The interface's name in the machine.
    pub interface: String,
    /// What is on the same segment: reached without a router.
    pub subnet: Subnets,
    /// The router that the node agent sets as the way out; none: the engine or the host's own configuration did.
    pub gateway: Option<Addresses>,
    /// The largest packet that fits, in bytes.
    pub mtu: u32,
    /// By which address the machine reaches the host that runs kcl, where it is another than the network's.
    pub host: Option<Addresses>,
    /// The segment changes the sender of what goes to other addresses than the subnet's: packets of pods cannot cross it as
    /// they are.
    #[serde(default)]
    pub masquerades: bool,
}
