//! [`ClusterSpec`]: the cluster that the user wants.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use kcl_driver_api::{DriverKind, HostMount, PublishedPort};
use kcl_driver_ssh::Target;
use kcl_node_spec::{Role, Subnets, Taint};
use serde::{Deserialize, Serialize};

use super::units;
use crate::addon_config::AddonConfig;
use crate::error::{Error, Id, Result};

/// The name of a cluster unless the user gives one.
pub const DEFAULT_NAME: &str = "kcl";
/// The number of nodes that a cluster may have.
pub const MAX_NODES: usize = 100;
/// The components that `--extra-config` knows, as in [`kcl_node_spec::KubernetesSpec::extra`].
pub const EXTRA_CONFIG_COMPONENTS: &[&str] =
    &["apiserver", "controller-manager", "scheduler", "etcd", "kubelet", "kube-proxy"];

/// The cluster that the user wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterSpec {
    /// The cluster's name, a DNS label: the profile.
    pub name: String,
    /// The driver of nodes that name none; `start` chooses one if it is `None`.
    pub driver: Option<DriverKind>,
    /// The version, `v1.37.0`; or `v1.37`, `stable` or `latest`, which `artifacts` makes exact.
    pub kubernetes_version: String,
    /// The nodes, each with a name of its own; the first is a control plane.
    pub nodes: Vec<NodeConfig>,
    /// The node network; the driver finds a free one if it is `None`.
    pub subnet: Option<Subnets>,
    /// The network of all pods, of which each node gets a /24.
    pub pod_cidr: Subnets,
    /// The network of all services.
    pub service_cidr: Subnets,
    /// The DNS domain inside the cluster.
    pub dns_domain: String,
    /// Resolvers for names outside of the cluster: the host's if it is `None`, none at all if it is empty.
    pub nameservers: Option<Vec<IpAddr>>,
    /// Flags of components: `component -> flag without dashes -> value`.
    pub extra_config: BTreeMap<String, BTreeMap<String, String>>,
    /// Feature gates for all components.
    pub feature_gates: BTreeMap<String, bool>,
    /// The lifetime of leaf certificates.
    #[serde(with = "units::lifetime")]
    pub cert_expiration: Duration,
    /// Lets namespaces that name no level of Pod Security admit only what `baseline` allows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub harden: bool,
    /// Additional DNS names of the API server.
    pub apiserver_names: Vec<String>,
    /// Additional addresses of the API server.
    pub apiserver_ips: Vec<IpAddr>,
    /// Ports of the first node that are published on this host.
    #[serde(default)]
    pub ports: Vec<PublishedPort>,
    /// Directories of this host that all nodes see.
    #[serde(default)]
    pub mounts: Vec<HostMount>,
    /// Settings of addons by name.
    #[serde(default)]
    pub addons: BTreeMap<String, AddonConfig>,
    /// Absolute paths of manifests that are applied after those of the system.
    pub manifests: Vec<PathBuf>,
    /// Accepts unknown keys of hosts without a question, in this run only.
    #[serde(skip)]
    pub accept_host_key: bool,
}

/// A node that the user wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeConfig {
    /// The node's name: `<profile>`, `<profile>-m02`, …
    pub name: String,
    /// The node's role.
    pub role: Role,
    /// The driver of the node's machine, if it is not the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<DriverKind>,
    /// Whole CPUs; all of the host if it is `None`.
    pub cpus: Option<u32>,
    /// Bytes of memory; all of the host if it is `None`.
    pub memory: Option<u64>,
    /// Labels of the Node object.
    pub labels: BTreeMap<String, String>,
    /// Taints of the Node object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// The existing host that becomes the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Target>,
}

impl ClusterSpec {
    /// Returns the cluster that a plain `kcl start` makes: one control plane.
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
            harden: false,
            apiserver_names: Vec::new(),
            apiserver_ips: Vec::new(),
            ports: Vec::new(),
            mounts: Vec::new(),
            addons: BTreeMap::new(),
            manifests: Vec::new(),
            accept_host_key: false,
        }
    }

    /// Returns the node of this name.
    pub fn node(&self, name: &str) -> Option<&NodeConfig> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Chooses the driver of nodes that are existing hosts, which only one driver reaches.
    pub(super) fn choose_driver_of_hosts(&mut self) {
        if self.driver.is_none() && self.nodes.iter().all(|node| node.host.is_some()) {
            self.driver = Some(DriverKind::FOR_HOSTS);
        }
        let driver = Some(DriverKind::FOR_HOSTS).filter(|kind| self.driver != Some(*kind));
        for node in self.nodes.iter_mut().filter(|node| node.host.is_some() && node.driver.is_none()) {
            node.driver = driver;
        }
    }

    /// Sets the limits of all nodes.
    pub(super) fn set_limits(&mut self, cpus: Option<u32>, memory: Option<u64>) {
        for node in &mut self.nodes {
            node.cpus = cpus.or(node.cpus);
            node.memory = memory.or(node.memory);
        }
    }

    /// Sets the version. A less exact one that the present one fits, such as `v1.37` or `stable`, changes nothing.
    pub(super) fn set_version(&mut self, version: String) {
        let exact = self.kubernetes_version.split('.').count() == 3;
        let fits = matches!(version.as_str(), "stable" | "latest")
            || self.kubernetes_version.strip_prefix(&version).is_some_and(|rest| rest.starts_with('.'));
        if !(exact && fits) {
            self.kubernetes_version = version;
        }
    }

    /// Returns the driver of a node's machine, if one is chosen.
    pub(super) fn chosen_driver(&self, node: &NodeConfig) -> Option<DriverKind> {
        node.driver.or(self.driver)
    }

    /// Returns the driver of a node's machine.
    pub fn driver_of(&self, node: &NodeConfig) -> Result<DriverKind> {
        self.chosen_driver(node).ok_or_else(|| {
            Error::new(Id::Internal, format!("no driver was chosen for the node {} of {}", node.name, self.name))
        })
    }
}

impl NodeConfig {
    /// Returns a node named by its number, counted from 0: the first is a control plane, the others are workers.
    pub fn new(profile: &str, index: usize) -> Self {
        NodeConfig {
            name: node_name(profile, index),
            role: if index == 0 { Role::ControlPlane } else { Role::Worker },
            driver: None,
            cpus: None,
            memory: None,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            host: None,
        }
    }
}

/// Replaces a setting if the user gives another.
pub(super) fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

/// Returns the name of the node with this number, counted from 0, as in minikube: `kcl`, `kcl-m02`, `kcl-m03`, …
pub fn node_name(profile: &str, index: usize) -> String {
    match index {
        0 => profile.to_owned(),
        _ => format!("{profile}-m{:02}", index + 1),
    }
}
