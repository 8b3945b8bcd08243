//! The node spec: the one document that kcl hands to a node agent, with the paths and ports in a node.
//!
//! kcl writes it to [`paths::SPEC`] before the agent starts. Together with the files in [`paths`], it is the agent's
//! whole configuration.

mod addresses;
mod footprint;
pub mod guest;
pub mod paths;
pub mod ports;
pub mod resolv_conf;
mod status;
mod taint;

pub use addresses::{Addresses, NoIpv4, ParseError, PerFamily, Subnets};
pub use footprint::{FOOTPRINT, Footprint, Networks};
pub use status::{ComponentState, ComponentStatus, MemberStatus, NodeStatus, Phase};
pub use taint::{Effect, Taint};

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The schema that this code writes and reads.
pub const SCHEMA: u32 = 1;

/// The image of the pods' sandbox process in the configuration of containerd's CRI plugin; the default of containerd
/// 2.4. kcl assembles an image of exactly this name.
pub const SANDBOX_IMAGE: &str = "registry.k8s.io/pause:3.10.2";

/// The role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The node runs etcd, the API server and its companions, and also pods, as a worker does.
    ControlPlane,
    /// The node runs only pods.
    Worker,
}

impl Role {
    /// Returns the name of the role in labels and tables.
    pub fn name(self) -> &'static str {
        match self {
            Role::ControlPlane => "control-plane",
            Role::Worker => "worker",
        }
    }
}

/// The document with everything that an agent needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// The schema of the document: [`SCHEMA`].
    pub schema: u32,
    /// The name of the cluster.
    pub cluster: String,
    /// The name of the node, which is also its host name.
    pub name: String,
    /// The role of the node.
    pub role: Role,
    /// The node's address on the node network.
    pub address: Addresses,
    /// The networks and names that the node needs.
    pub network: NodeNetwork,
    /// The capacity that the kubelet reports if the machine sees the whole host; `None` for the machine's own.
    pub capacity: Capacity,
    /// The proxy by which images are pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// The version and settings of Kubernetes.
    pub kubernetes: KubernetesSpec,
}

/// A proxy for what is outside of the cluster. It may hold a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Proxy {
    /// The URL for requests over HTTP.
    pub http: Option<String>,
    /// The URL for requests over TLS.
    pub https: Option<String>,
    /// Hosts, domains and networks that are reached without it.
    pub without: Vec<String>,
}

impl Proxy {
    /// Returns the variables by which programs know it.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let named = [("HTTP_PROXY", &self.http), ("HTTPS_PROXY", &self.https)];
        let named = named.into_iter().filter_map(|(name, url)| Some((name, url.clone()?)));
        named.chain([("NO_PROXY", self.without.join(","))]).collect()
    }
}

/// Leaves out the contents, as a password must not get into logs.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").finish_non_exhaustive()
    }
}

/// The limits of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// The number of whole CPUs.
    pub cpus: Option<u32>,
    /// The memory in bytes.
    pub memory: Option<u64>,
}

/// The networks and names that a node needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeNetwork {
    /// The interface on the node network.
    pub interface: String,
    /// The node network.
    pub subnet: Subnets,
    /// The default gateway, which the agent sets; `None` if the driver or the host sets the route.
    pub gateway: Option<Addresses>,
    /// The largest packet on the node network, in bytes.
    pub mtu: u32,
    /// The resolvers for the node and, through CoreDNS, for pods. If empty, the node's own file stays unchanged.
    pub nameservers: Vec<IpAddr>,
    /// The search domains of the host.
    pub search: Vec<String>,
    /// The options of the host's resolvers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The lines for `/etc/hosts`: the nodes, and the host under its stable name.
    pub hosts: Vec<HostEntry>,
    /// This node's share of [`NodeNetwork::cluster_cidr`].
    pub pod_cidr: Subnets,
    /// The address range of all pods.
    pub cluster_cidr: Subnets,
    /// The address range of all Services.
    pub service_cidr: Subnets,
    /// The address of the cluster's DNS service.
    pub cluster_dns: Addresses,
    /// The DNS domain of the cluster: `cluster.local`.
    pub dns_domain: String,
    /// The other nodes, for routes to their pods.
    pub peers: Vec<Peer>,
    /// The routes to networks of peers that the default gateway does not reach.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// The 24-bit network identifier of the cluster's VXLAN (RFC 7348), which leads to peers on other segments.
    #[serde(default)]
    pub vni: u32,
}

/// A route to a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The destination network.
    pub to: IpNet,
    /// The router on the node's own segment.
    pub via: IpAddr,
}

/// A line of `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEntry {
    /// The address of the host.
    pub address: IpAddr,
    /// The names of the host.
    pub names: Vec<String>,
}

/// Another node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The name of the peer.
    pub name: String,
    /// The peer's address on the node network.
    pub address: Addresses,
    /// The address range of the peer's pods.
    pub pod_cidr: Subnets,
    /// True if the peer is on another segment, or on one that packets of pods cannot cross unchanged. Its pods are then
    /// reached through the cluster's VXLAN rather than through its address alone.
    #[serde(default)]
    pub overlay: bool,
}

/// The version and settings of Kubernetes. Certificates, keys and kubeconfigs are files at the paths in [`paths`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubernetesSpec {
    /// The version with its `v`, as in `v1.34.0`.
    pub version: String,
    /// The addresses of all API servers. The agent balances connections to [`ports::API_SERVER`] on loopback over them.
    pub api_servers: Vec<SocketAddr>,
    /// The address of the API that the control planes share: the agent of one of them holds it, and serves there too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_address: Option<Addresses>,
    /// The members of etcd; more than one only if there are several control planes.
    pub etcd_members: Vec<EtcdMember>,
    /// True if this node's member joins a running etcd cluster, to which it was added before (`member add`), and does
    /// not bootstrap one together with the others. The value matters only while the member has no data.
    #[serde(default)]
    pub etcd_join: bool,
    /// The taints with which the kubelet registers the node; those of a node that is registered stay as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// True if namespaces that name no level of Pod Security have `baseline` rather than `privileged`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub harden: bool,
    /// The feature gates of all components.
    pub feature_gates: BTreeMap<String, bool>,
    /// The values of `--extra-config`, which override kcl's own flags: component, flag without dashes, value.
    /// The components are `apiserver`, `controller-manager`, `scheduler`, `etcd`, `kubelet` and `kube-proxy`.
    /// The keys of `kube-proxy` are paths into its configuration file (`conntrack.maxPerCore`), as that overrides its
    /// flags.
    pub extra: BTreeMap<String, BTreeMap<String, String>>,
}

/// A member of etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdMember {
    /// The name of the member, which is the node's.
    pub name: String,
    /// The address of the member; its ports are [`ports::ETCD_PEER`] and [`ports::ETCD_CLIENT`].
    pub address: IpAddr,
}
