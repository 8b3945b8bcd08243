//! The parts of Kubernetes objects that decide about connections. A whole Pod is many times as large, and every node
//! holds all of them in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, NamespaceResourceScope, Resource};
use serde::Deserialize;

/// The annotation with the id that a kubelet gives to a static pod; the object in the API has another.
const STATIC_UID: &str = "kubernetes.io/config.hash";

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

/// The namespace and name of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The namespace of the object.
    pub namespace: String,
    /// The name of the object.
    pub name: String,
}

impl Key {
    /// Returns the key of an object in a namespace.
    pub fn new(namespace: &str, name: &str) -> Self {
        Key { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Returns the key of an object.
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

/// A protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// The protocol TCP.
    Tcp,
    /// The protocol UDP.
    Udp,
    /// The protocol SCTP.
    Sctp,
}

impl Protocol {
    /// Returns the protocol that the API names; TCP if it names none.
    pub fn named(name: Option<&str>) -> Self {
        match name {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

/// A pod as policies see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// The namespace and name.
    pub key: Key,
    /// The ids of the pod: that of the object, and that of the kubelet if it is a static pod.
    pub uids: Vec<String>,
    /// The labels of the pod.
    pub labels: Labels,
    /// The node that it runs on; empty before it is scheduled.
    pub node: String,
    /// True if it has the network of its node: it is then a part of the node.
    pub host_network: bool,
    /// The addresses; none before the pod is started and after it has ended.
    pub addresses: Vec<IpAddr>,
    /// The named ports.
    pub ports: Vec<(String, Protocol, u16)>,
    /// True if all its containers have ended for good: its addresses may belong to another pod already.
    pub ended: bool,
    /// True if the API has deleted it while its network is still there.
    pub deleted: bool,
}

/// A Pod as the API has it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ApiPod {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: String,
    host_network: bool,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    restart_policy: Option<String>,
    ports: Vec<ContainerPort>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerPort {
    name: Option<String>,
    container_port: u16,
    protocol: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<PodIp>,
}

#[derive(Clone, Debug, Deserialize)]
struct PodIp {
    ip: String,
}

impl Resource for ApiPod {
    const API_VERSION: &'static str = "v1";
    const GROUP: &'static str = "";
    const KIND: &'static str = "Pod";
    const VERSION: &'static str = "v1";
    const URL_PATH_SEGMENT: &'static str = "pods";
    type Scope = NamespaceResourceScope;
}

impl Metadata for ApiPod {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl From<ApiPod> for Pod {
    fn from(pod: ApiPod) -> Self {
        let ApiPod { metadata, spec, status } = pod;
        let ended = matches!(status.phase.as_str(), "Succeeded" | "Failed");
        // An init container that is restarted always is a sidecar, which serves as long as the pod runs.
        let sidecars = spec.init_containers.iter().filter(|one| one.restart_policy.as_deref() == Some("Always"));
        let ports = spec.containers.iter().chain(sidecars).flat_map(|container| &container.ports);
        let ports = ports.filter_map(|port| {
            Some((port.name.clone()?, Protocol::named(port.protocol.as_deref()), port.container_port))
        });
        let mut addresses: Vec<IpAddr> = Vec::new();
        for text in status.pod_ips.iter().map(|one| &one.ip).chain(&status.pod_ip) {
            addresses.extend(text.parse().ok().filter(|address| !addresses.contains(address)));
        }
        let hash = metadata.annotations.as_ref().and_then(|annotations| annotations.get(STATIC_UID));
        Pod {
            key: Key { namespace: metadata.namespace.unwrap_or_default(), name: metadata.name.unwrap_or_default() },
            uids: metadata.uid.into_iter().chain(hash.cloned()).collect(),
            labels: metadata.labels.unwrap_or_default(),
            node: spec.node_name,
            host_network: spec.host_network,
            addresses: if ended { Vec::new() } else { addresses },
            ports: ports.collect(),
            ended,
            deleted: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(value: serde_json::Value) -> Pod {
        serde_json::from_value::<ApiPod>(value).unwrap().into()
    }

    #[test]
    fn ports_of_sidecars_count_and_those_of_init_containers_do_not() {
        let port = |name: &str, number: u16| serde_json::json!({"name": name, "containerPort": number});
        let found = pod(serde_json::json!({
            "metadata": {"name": "a", "namespace": "x", "uid": "1"},
            "spec": {
                "containers": [{"ports": [port("web", 80), {"containerPort": 81}]}],
                "initContainers": [
                    {"ports": [port("once", 82)]},
                    {"restartPolicy": "Always", "ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]},
                ],
            },
            "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
        }));
        let expected = [("web".to_owned(), Protocol::Tcp, 80), ("dns".to_owned(), Protocol::Udp, 53)];
        assert_eq!(found.ports, expected);
        let addresses: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(found.addresses, addresses);
    }

    #[test]
    fn a_pod_that_has_ended_has_no_address() {
        let found = pod(serde_json::json!({
            "metadata": {"name": "a", "namespace": "x"},
            "status": {"phase": "Succeeded", "podIPs": [{"ip": "10.0.0.1"}]},
        }));
        assert!(found.addresses.is_empty() && found.ended);
    }
}
