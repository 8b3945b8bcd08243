//! What the user wants: defaults, cluster file, environment and flags become one validated [`ClusterSpec`].

mod addon;
mod cluster_file;
mod limits;
mod nodes;
mod resolve;
#[cfg(test)]
mod tests;
mod units;
mod words;

pub use addon::{AddonConfig, enable_addon, is_reference, oci_reference, unreadable_addon};
pub use limits::check_mounts;
pub use resolve::{Overrides, Source};
pub use units::{format_lifetime, format_memory, parse_lifetime, parse_memory};
pub use words::{check_name, mount as parse_mount};

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use kcl_driver_api::{DriverKind, HostMount, PublishedPort};
use kcl_driver_ssh::Target;
use kcl_node_spec::{Role, Subnets};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Family, Result};

/// The name of a cluster that was given none.
pub const DEFAULT_NAME: &str = "kcl";
/// The most nodes of a cluster.
pub const MAX_NODES: usize = 100;
/// The components that `--extra-config` knows, as in [`kcl_node_spec::KubernetesSpec::extra`].
pub const EXTRA_CONFIG_COMPONENTS: &[&str] =
    &["apiserver", "controller-manager", "scheduler", "etcd", "kubelet", "kube-proxy"];

/// The cluster that the user wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterSpec {
    /// Its name, a DNS label: the profile.
    pub name: String,
    /// Who makes the machines of nodes that name none; none: that is for `start` to choose.
    pub driver: Option<DriverKind>,
    /// `v1.37.0`; or, as far as the user said it, `v1.37`, `stable` or `latest`, which `artifacts` makes exact.
    pub kubernetes_version: String,
    /// Its nodes; the first is a control plane.
    pub nodes: Vec<NodeConfig>,
    /// The node network; none: the driver finds a free one.
    pub subnet: Option<Subnets>,
    /// All pods; each node gets a /24 of it.
    pub pod_cidr: Subnets,
    /// All services.
    pub service_cidr: Subnets,
    /// The DNS domain inside the cluster.
    pub dns_domain: String,
    /// Resolvers for names outside of the cluster; none: the host's. An empty list: there are none.
    pub nameservers: Option<Vec<IpAddr>>,
    /// `component -> flag without dashes -> value`.
    pub extra_config: BTreeMap<String, BTreeMap<String, String>>,
    /// Feature gates for all components.
    pub feature_gates: BTreeMap<String, bool>,
    /// How long leaf certificates are good for.
    #[serde(with = "units::lifetime")]
    pub cert_expiration: Duration,
    /// Further DNS names of the API server.
    pub apiserver_names: Vec<String>,
    /// Further addresses of the API server.
    pub apiserver_ips: Vec<IpAddr>,
    /// Ports of the first node that are reached on this host.
    #[serde(default)]
    pub ports: Vec<PublishedPort>,
    /// Directories of this host that are in all nodes too.
    #[serde(default)]
    pub mounts: Vec<HostMount>,
    /// What the user said of addons, by name.
    #[serde(default)]
    pub addons: BTreeMap<String, AddonConfig>,
    /// Files with manifests that are applied after those of the system; absolute.
    pub manifests: Vec<PathBuf>,
    /// Keys of hosts that are not known are taken without a question. Of this run only.
    #[serde(skip)]
    pub accept_host_key: bool,
}

/// A node that the user wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeConfig {
    /// Its name: `<profile>`, `<profile>-m02`, …
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Who makes its machine, where it is another than the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<DriverKind>,
    /// Whole CPUs; none: all of the host.
    pub cpus: Option<u32>,
    /// Bytes of memory; none: all of the host.
    pub memory: Option<u64>,
    /// Labels of the Node object.
    pub labels: BTreeMap<String, String>,
    /// The host that it is to be, where hosts exist already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Target>,
}

impl ClusterSpec {
    /// The cluster that a plain `kcl start` makes: one control plane.
    pub fn with_defaults(name: &str) -> Self {
        ClusterSpec {
            name: name.to_owned(),
            driver: None,
            kubernetes_version: "stable".to_owned(),
            nodes: vec![NodeConfig::new(name, 0)],
            subnet: None,
            pod_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16).into(),
            service_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16).into(),
            dns_domain: "cluster.local".to_owned(),
            nameservers: None,
            extra_config: BTreeMap::new(),
            feature_gates: BTreeMap::new(),
            cert_expiration: Duration::from_secs(26_280 * 3600),
            apiserver_names: Vec::new(),
            apiserver_ips: Vec::new(),
            ports: Vec::new(),
            mounts: Vec::new(),
            addons: BTreeMap::new(),
            manifests: Vec::new(),
            accept_host_key: false,
        }
    }
}

impl ClusterSpec {
    /// Who makes the machine of a node.
    pub fn driver_of(&self, node: &NodeConfig) -> Result<DriverKind> {
        node.driver.or(self.driver).ok_or_else(|| {
            Error::new(Family::Internal, format!("no driver was chosen for the node {} of {}", node.name, self.name))
        })
    }

    /// The cluster file that makes this cluster.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(&cluster_file::ClusterFile::from(self))
            .map_err(|error| Error::new(Family::Internal, format!("the spec cannot be written as TOML: {error}")))
    }
}

impl NodeConfig {
    /// The node at `index` of the cluster `profile`: the first is the control plane, the others are workers.
    pub fn new(profile: &str, index: usize) -> Self {
        NodeConfig {
            name: node_name(profile, index),
            role: if index == 0 { Role::ControlPlane } else { Role::Worker },
            driver: None,
            cpus: None,
            memory: None,
            labels: BTreeMap::new(),
            host: None,
        }
    }
}

/// The name of the node at `index`, counted from 0, as in minikube: `kcl`, `kcl-m02`, `kcl-m03`, …
pub fn node_name(profile: &str, index: usize) -> String {
    match index {
        0 => profile.to_owned(),
        _ => format!("{profile}-m{:02}", index + 1),
    }
}
