//! The network between the machines of a cluster.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// The network that kcl wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The cluster it belongs to.
    pub cluster: String,
    /// Its addresses.
    pub subnet: Ipv4Net,
}

/// The network as the driver made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its addresses.
    pub subnet: Ipv4Net,
    /// The host's own address on it, by which machines reach the host and beyond.
    pub gateway: Ipv4Addr,
    /// The largest packet that fits, in bytes.
    pub mtu: u32,
}
