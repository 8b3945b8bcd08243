//! The parts of Kubernetes objects that are needed here. A whole Node or Service is many times as large, and every node
//! would hold it in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, Metadata, NamespaceResourceScope, Resource};
use kcl_node_spec::Addresses;
use serde::Deserialize;

/// The annotation that names the node which answers for a Service's address.
pub(crate) const ANNOUNCED_BY: &str = "kcl.dev/announced-by";

/// The annotation by which a Service requests an address, beside `spec.loadBalancerIP`, which is deprecated.
pub(crate) const WANTED_ADDRESS: &str = "kcl.dev/load-balancer-ip";

/// The label that excludes a node (`k8s.io/api/core/v1`, `LabelNodeExcludeBalancers`).
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The label of nodes that run the control plane.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// The label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The namespace and name of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The namespace; empty for cluster-wide objects.
    pub namespace: String,
    /// The name of the object.
    pub name: String,
}

impl Key {
    /// Returns the key of an object.
    pub(crate) fn of(object: &impl Metadata<Ty = ObjectMeta>) -> Self {
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
pub(crate) struct Service {
    metadata: ObjectMeta,
    /// The desired state.
    #[serde(default)]
    pub spec: ServiceSpec,
    #[serde(default)]
    status: ServiceStatus,
}

/// The `spec` of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServiceSpec {
    /// The class of the load balancer.
    pub load_balancer_class: Option<String>,
    /// The requested address.
    #[serde(rename = "loadBalancerIP")]
    pub load_balancer_ip: Option<String>,
    /// The external traffic policy: `Cluster` or `Local`.
    pub external_traffic_policy: Option<String>,
    /// The ports of the Service.
    pub ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct ServicePort {
    /// The protocol: `TCP`, `UDP` or `SCTP`.
    #[serde(default = "tcp")]
    pub protocol: String,
    /// The number of the port.
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
    ip: Option<IpAddr>,
}

impl Service {
    /// Returns the addresses in the Service's status.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.status.load_balancer.ingress.iter().filter_map(|ingress| ingress.ip)
    }

    /// Returns the node that answers for the Service's address.
    pub(crate) fn announced_by(&self) -> Option<&str> {
        self.annotation(ANNOUNCED_BY)
    }

    /// Returns the address that the Service requests, as written.
    pub(crate) fn wanted(&self) -> Option<&str> {
        let field = self.spec.load_balancer_ip.as_deref().filter(|text| !text.is_empty());
        field.or_else(|| self.annotation(WANTED_ADDRESS))
    }

    /// Returns true if only nodes with an endpoint answer, so that clients keep their addresses.
    pub(crate) fn is_local(&self) -> bool {
        self.spec.external_traffic_policy.as_deref() == Some("Local")
    }

    /// Returns the uid, which tells the Service from another of the same name.
    pub(crate) fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }
}

/// A node of the cluster.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Node {
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

/// The state of a node's kubelet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// The kubelet reports that the node is ready.
    Ready,
    /// The kubelet reports that the node is not ready, so at least the kubelet is alive.
    NotReady,
    /// The kubelet has been silent for long.
    Silent,
}

impl Node {
    /// Returns the node's addresses on the node network.
    pub(crate) fn address(&self) -> Option<Addresses> {
        let internal = self.status.addresses.iter().filter(|address| address.kind == "InternalIP");
        Addresses::first_of(internal.filter_map(|address| address.address.parse().ok()))
    }

    /// Returns the state of the kubelet by the condition Ready.
    pub(crate) fn readiness(&self) -> Readiness {
        let ready = self.status.conditions.iter().find(|condition| condition.kind == "Ready");
        match ready.map(|condition| condition.status.as_str()) {
            Some("True") => Readiness::Ready,
            Some("False") => Readiness::NotReady,
            _ => Readiness::Silent,
        }
    }

    /// Returns true if the node runs the control plane.
    pub(crate) fn is_control_plane(&self) -> bool {
        self.has_label(CONTROL_PLANE)
    }

    /// Returns true if the node is excluded from load balancing.
    pub(crate) fn is_excluded(&self) -> bool {
        self.has_label(EXCLUDED)
    }

    fn has_label(&self, name: &str) -> bool {
        self.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(name))
    }
}

/// A part of the endpoints of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct EndpointSlice {
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
    /// Returns the Service of the slice.
    pub(crate) fn service(&self) -> Option<Key> {
        let labels: &BTreeMap<_, _> = self.metadata.labels.as_ref()?;
        let namespace = self.metadata.namespace.clone().unwrap_or_default();
        Some(Key { namespace, name: labels.get(SERVICE_NAME)?.clone() })
    }

    /// Returns the nodes with a ready endpoint; without a condition it is ready (`discovery.k8s.io/v1`).
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &str> {
        let ready =
            |endpoint: &&Endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false);
        self.endpoints.iter().flatten().filter(ready).filter_map(|endpoint| endpoint.node_name.as_deref())
    }
}

/// Implements the client's trait for a type: its group, version and plural.
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
