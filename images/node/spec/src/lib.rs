//! The node spec: the one document that kcl hands to a node agent, and where things are in a node.
//!
//! kcl writes it to [`paths::SPEC`] before the agent starts; the agent reads nothing else but the files it names.

mod addresses;
mod footprint;
pub mod guest;
pub mod paths;
pub mod ports;
pub mod resolv_conf;
mod status;

pub use addresses::{Addresses, NoIpv4, ParseError, PerFamily, Subnets};
pub use footprint::{FOOTPRINT, Footprint, Networks};
pub use status::{ComponentState, ComponentStatus, NodeStatus, Phase};

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The schema that this code writes and reads.
pub const SCHEMA: u32 = 1;

/// The image of the pods' sandbox process, as the CRI plugin of containerd is told; its default in containerd 2.4.
/// kcl assembles an image of exactly this name.
pub const SANDBOX_IMAGE: &str = "registry.k8s.io/pause:3.10.2";

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// etcd, the API server, its companions, and work as on a worker.
    ControlPlane,
    /// Pods only.
    Worker,
}

impl Role {
    /// The name in labels and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Role::ControlPlane => "control-plane",
            Role::Worker => "worker",
        }
    }
}

/// Everything an agent needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The cluster's name.
    pub cluster: String,
    /// The node's name and host name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its address on the node network.
    pub address: Addresses,
    /// Networks and names.
    pub network: NodeNetwork,
    /// What the kubelet is to report where the machine itself sees the whole host; none: what is there.
    pub capacity: Capacity,
    /// Kubernetes itself.
    pub kubernetes: KubernetesSpec,
}

/// What a node is bounded to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Whole CPUs.
    pub cpus: Option<u32>,
    /// Bytes of memory.
    pub memory: Option<u64>,
}

/// Networks and names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeNetwork {
    /// The interface on the node network.
    pub interface: String,
    /// The node network.
    pub subnet: Subnets,
    /// The way out, set by the agent where the driver does not; none: the driver or the host did.
    pub gateway: Option<Addresses>,
    /// Largest packet in bytes on the node network.
    pub mtu: u32,
    /// Resolvers for the node and, through CoreDNS, for pods; empty: the node's own file is left alone.
    pub nameservers: Vec<IpAddr>,
    /// Search domains of the host.
    pub search: Vec<String>,
    /// Lines for `/etc/hosts`: the nodes, and the host by its stable name.
    pub hosts: Vec<HostEntry>,
    /// This node's share of [`NodeNetwork::cluster_cidr`].
    pub pod_cidr: Subnets,
    /// All pods.
    pub cluster_cidr: Subnets,
    /// All services.
    pub service_cidr: Subnets,
    /// The address of the cluster's DNS service.
    pub cluster_dns: Addresses,
    /// The DNS domain of the cluster: `cluster.local`.
    pub dns_domain: String,
    /// The other nodes, for routes to their pods.
    pub peers: Vec<Peer>,
    /// Ways to networks that peers are on and that the way out does not lead to.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// The number of the cluster's VXLAN (RFC 7348), by which peers on other segments are reached: 24 bits.
    #[serde(default)]
    pub vni: u32,
}

/// A way to a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The network.
    pub to: IpNet,
    /// The router, on the node's own segment.
    pub via: IpAddr,
}

/// A line of `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEntry {
    /// The address.
    pub address: IpAddr,
    /// Its names.
    pub names: Vec<String>,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Its address on the node network.
    pub address: Addresses,
    /// Its pods.
    pub pod_cidr: Subnets,
    /// It is on another segment, or on one that packets of pods cannot cross as they are: its pods are reached through the
    /// cluster's VXLAN rather than by its address alone.
    #[serde(default)]
    pub overlay: bool,
}

/// Kubernetes itself. Certificates, keys and kubeconfigs are files at the places in [`paths`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubernetesSpec {
    /// The version, with its `v`.
    pub version: String,
    /// All API servers. The agent balances connections to [`ports::API_SERVER`] on loopback over them.
    pub api_servers: Vec<SocketAddr>,
    /// Members of etcd, by name; of more than one only with several control planes.
    pub etcd_members: Vec<EtcdMember>,
    /// This node's member joins an etcd that runs already (it was announced there with a member add), rather than
    /// founding one together with the others. It matters only while the member has no data.
    #[serde(default)]
    pub etcd_join: bool,
    /// Feature gates for all components.
    pub feature_gates: BTreeMap<String, bool>,
    /// `component -> flag (without dashes) -> value`, from `--extra-config`, after kcl's own flags.
    /// Components: `apiserver`, `controller-manager`, `scheduler`, `etcd`, `kubelet`, `kube-proxy`.
    /// For `kube-proxy` keys are paths into its configuration (`conntrack.maxPerCore`), since its flags yield to it.
    pub extra: BTreeMap<String, BTreeMap<String, String>>,
}

/// A member of etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdMember {
    /// The member's name: the node's.
    pub name: String,
    /// Its address; the ports are [`ports::ETCD_PEER`] and [`ports::ETCD_CLIENT`].
    pub address: IpAddr,
}
