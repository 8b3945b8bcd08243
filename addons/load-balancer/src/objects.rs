//! The parts of Kubernetes' objects that matter here. The whole of a Node or a Service is many times as large, and every
//! node would hold it in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, Metadata, NamespaceResourceScope, Resource};
use serde::Deserialize;

/// The annotation that names the node which answers for a Service's address.
pub const ANNOUNCED_BY: &str = "kcl.dev/announced-by";

/// The annotation by which a Service asks for an address, beside `spec.loadBalancerIP`, which is deprecated.
pub const WANTED_ADDRESS: &str = "kcl.dev/load-balancer-ip";

/// The label that keeps a node out (`k8s.io/api/core/v1`, `LabelNodeExcludeBalancers`).
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The label of nodes that run the control plane.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// The label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Namespace and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Empty for what has none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// Of an object.
    pub fn of(object: &impl Metadata<Ty = ObjectMeta>) -> Self {
        let metadata = object.metadata();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Key { namespace: text(&metadata.namespace), name: text(&metadata.name) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A Service of type LoadBalancer.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Service {
    metadata: ObjectMeta,
    /// What is wanted.
    #[serde(default)]
    pub spec: ServiceSpec,
    #[serde(default)]
    status: ServiceStatus,
}

/// `spec`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// Whose business it is.
    pub load_balancer_class: Option<String>,
    /// The address that is wanted.
    #[serde(rename = "loadBalancerIP")]
    pub load_balancer_ip: Option<String>,
    /// `Cluster` or `Local`.
    pub external_traffic_policy: Option<String>,
    /// What is served.
    pub ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct ServicePort {
    /// `TCP`, `UDP` or `SCTP`.
    #[serde(default = "tcp")]
    pub protocol: String,
    /// Its number.
    pub port: u16,
}

fn tcp() -> String {
    "TCP".to_owned()
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceStatus {
    load_balancer: LoadBalancerStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LoadBalancerStatus {
    ingress: Vec<Ingress>,
}

#[derive(Clone, Debug, Deserialize)]
struct Ingress {
    ip: Option<Ipv4Addr>,
}

impl Service {
    /// The addresses in its status.
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        self.status.load_balancer.ingress.iter().filter_map(|ingress| ingress.ip).collect()
    }

    /// The node that answers for its address.
    pub fn announced_by(&self) -> Option<&str> {
        self.annotation(ANNOUNCED_BY)
    }

    /// The address that it asks for, as it is written.
    pub fn wanted(&self) -> Option<&str> {
        let field = self.spec.load_balancer_ip.as_deref().filter(|text| !text.is_empty());
        field.or_else(|| self.annotation(WANTED_ADDRESS))
    }

    /// Whether only nodes with an endpoint of it answer, and clients keep their addresses.
    pub fn is_local(&self) -> bool {
        self.spec.external_traffic_policy.as_deref() == Some("Local")
    }

    /// What tells it from another one of its name.
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }
}

/// A node.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Node {
    metadata: ObjectMeta,
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    addresses: Vec<NodeAddress>,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
struct NodeAddress {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// What is known of a node's kubelet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It says that the node is ready.
    Ready,
    /// It says that the node is not, so at least the kubelet lives.
    NotReady,
    /// It has not been heard for long.
    Silent,
}

impl Node {
    /// Its address on the node network.
    pub fn address(&self) -> Option<Ipv4Addr> {
        let internal = self.status.addresses.iter().filter(|address| address.kind == "InternalIP");
        internal.filter_map(|address| address.address.parse().ok()).next()
    }

    /// What its condition Ready says.
    pub fn readiness(&self) -> Readiness {
        let ready = self.status.conditions.iter().find(|condition| condition.kind == "Ready");
        match ready.map(|condition| condition.status.as_str()) {
            Some("True") => Readiness::Ready,
            Some("False") => Readiness::NotReady,
            _ => Readiness::Silent,
        }
    }

    /// Whether it runs the control plane.
    pub fn is_control_plane(&self) -> bool {
        self.has_label(CONTROL_PLANE)
    }

    /// Whether its administrator keeps it out of load balancing.
    pub fn is_excluded(&self) -> bool {
        self.has_label(EXCLUDED)
    }

    fn has_label(&self, name: &str) -> bool {
        self.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(name))
    }
}

/// Where some of the pods of a Service are.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct EndpointSlice {
    metadata: ObjectMeta,
    #[serde(default)]
    endpoints: Option<Vec<Endpoint>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Endpoint {
    node_name: Option<String>,
    conditions: Option<EndpointConditions>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct EndpointConditions {
    ready: Option<bool>,
}

impl EndpointSlice {
    /// The Service that it is of.
    pub fn service(&self) -> Option<Key> {
        let labels: &BTreeMap<_, _> = self.metadata.labels.as_ref()?;
        let namespace = self.metadata.namespace.clone().unwrap_or_default();
        Some(Key { namespace, name: labels.get(SERVICE_NAME)?.clone() })
    }

    /// The nodes with an endpoint that is ready; where nothing is said it is (`discovery.k8s.io/v1`).
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        let ready =
            |endpoint: &&Endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false);
        self.endpoints.iter().flatten().filter(ready).filter_map(|endpoint| endpoint.node_name.as_deref())
    }
}

/// Tells the client where in the API a type is.
macro_rules! resource {
    ($type:ty, $group:literal, $version:literal, $kind:literal, $path:literal, $scope:ty) => {
        impl Resource for $type {
            const API_VERSION: &'static str = $version;
            const GROUP: &'static str = $group;
            const KIND: &'static str = $kind;
            const VERSION: &'static str = "v1";
            const URL_PATH_SEGMENT: &'static str = $path;
            type Scope = $scope;
        }

        impl Metadata for $type {
            type Ty = ObjectMeta;

            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource!(Service, "", "v1", "Service", "services", NamespaceResourceScope);
resource!(Node, "", "v1", "Node", "nodes", ClusterResourceScope);
resource!(
    EndpointSlice,
    "discovery.k8s.io",
    "discovery.k8s.io/v1",
    "EndpointSlice",
    "endpointslices",
    NamespaceResourceScope
);
