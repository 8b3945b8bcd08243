//! The node and the cluster as certificates name them.

use std::net::IpAddr;
use std::time::Duration;

use kcl_node_spec::{Addresses, Role, Subnets};

/// The facts about a node that its certificates name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The node's name.
    pub name: String,
    /// The node's role: a worker gets fewer certificates.
    pub role: Role,
    /// The node's address on the node network.
    pub address: Addresses,
}

/// The facts about a cluster that certificates name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's DNS domain.
    pub dns_domain: String,
    /// The addresses of services; the first is the API's.
    pub service_cidr: Subnets,
    /// Further DNS names of the API server.
    pub apiserver_names: Vec<String>,
    /// Further addresses of the API server.
    pub apiserver_ips: Vec<IpAddr>,
    /// The lifetime of leaf certificates, within that of the CAs.
    pub expiration: Duration,
}
