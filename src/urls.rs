//! Computes the URLs of a Service from the reach of the nodes. Pure, except [`host`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::Endpoint;
use kcl_driver_api::{Addresses, Driver, PublishedPort, Reach};
use kube::ResourceExt;

use crate::error::{Error, Id, Result};
use crate::state::ClusterState;

/// The annotation with the loopback ports that kcl assigned to a Service: `80=8080,443=8443`.
pub const GIVEN: &str = "kcl.dev/loopback";

/// The address of a node, and this host's path to it.
#[derive(Clone, Copy, Debug)]
pub struct NodeAddress {
    /// The node's address on the node network.
    pub address: Addresses,
    /// The path from this host to the node.
    pub reach: Reach,
}

/// The nodes and ports of a cluster, as this host reaches them.
#[derive(Clone, Debug)]
pub struct Host {
    /// The nodes, the one that publishes ports first.
    pub nodes: Vec<NodeAddress>,
    /// The ports that the first node publishes.
    pub ports: Vec<PublishedPort>,
}

impl Host {
    /// Returns true if this host reaches nodes by their addresses.
    pub fn is_near(&self) -> bool {
        self.nodes.iter().any(|node| node.reach == Reach::Address)
    }
}

/// Asks a cluster's driver how this host reaches the nodes.
pub async fn host(state: &ClusterState, driver: &dyn Driver) -> Result<Host> {
    let nodes = state.nodes.iter().map(|node| async move {
        let capabilities = driver.capabilities(&state.spec.name, &node.machine).await?;
        Ok::<_, Error>(NodeAddress { address: node.address, reach: capabilities.reach })
    });
    Ok(Host { nodes: try_join_all(nodes).await?, ports: state.spec.ports.clone() })
}

/// The URL of a port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `http`, `https`, or `udp` and `sctp` for what no browser opens.
    pub scheme: &'static str,
    /// The address of the URL.
    pub address: IpAddr,
    /// The port of the URL.
    pub port: u16,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, std::net::SocketAddr::new(self.address, self.port))
    }
}

/// Returns the URLs by which this host reaches a Service: a port of loopback that the Service asked for, else its own
/// address, else a port of a node. If this host cannot reach machines by address, a published port, else loopback.
pub fn ways(service: &Service, host: &Host, https: bool) -> Vec<Url> {
    ports(service).filter_map(|port| way(service, port, host, https)).collect()
}

fn way(service: &Service, port: &ServicePort, host: &Host, https: bool) -> Option<Url> {
    let scheme = scheme(port, https);
    let number = u16::try_from(port.port).ok()?;
    let on_loopback = || {
        let given = given(service).get(&number).copied().filter(|_| protocol(port) == "TCP");
        given.map(|port| Url { scheme, address: Ipv4Addr::LOCALHOST.into(), port })
    };
    if host.is_near() {
        let direct = || direct(service, port, host).map(|at| Url { scheme, address: at.ip(), port: at.port() });
        return on_loopback().or_else(direct);
    }
    published(service, port, host).map(|(address, port)| Url { scheme, address, port }).or_else(on_loopback)
}

/// Returns the address of a Service's port on the node network: the Service's own address, else a port of a node; none
/// if this host does not reach the node network.
pub fn direct(service: &Service, port: &ServicePort, host: &Host) -> Option<SocketAddr> {
    let near = host.nodes.iter().find(|node| node.reach == Reach::Address)?;
    let number = |port: i32| u16::try_from(port).ok();
    match addresses(service).first() {
        Some(&address) => Some(SocketAddr::new(address, number(port.port)?)),
        None => Some(SocketAddr::new(near.address.primary(), number(port.node_port?)?)),
    }
}

/// Returns the address and the published port of the first node that lead to a port of a Service.
fn published(service: &Service, port: &ServicePort, host: &Host) -> Option<(IpAddr, u16)> {
    let number = u16::try_from(port.port).ok()?;
    let node_port = port.node_port.and_then(|port| u16::try_from(port).ok());
    let first = host.nodes.first()?;
    let Reach::Published { at, .. } = first.reach else { return None };
    // The ports of the node itself: the node port, or the Service's own port if its address is the node's.
    let own = addresses(service).iter().any(|&address| first.address.overlaps(address.into())).then_some(number);
    let leads = |published: &&PublishedPort| {
        let protocol = published.protocol.name().eq_ignore_ascii_case(protocol(port));
        protocol && [node_port, own].contains(&Some(published.machine_port))
    };
    let published = host.ports.iter().find(leads)?;
    // A port on all addresses or on loopback is reached at the engine's address.
    let bound = published.address;
    let address = if bound.is_unspecified() || bound.is_loopback() { at } else { bound };
    Some((address, published.port))
}

/// Returns the loopback ports of a Service, by the Service's own ports.
pub fn given(service: &Service) -> BTreeMap<u16, u16> {
    let text = service.annotations().get(GIVEN).map(String::as_str).unwrap_or_default();
    let pair = |pair: &str| {
        let (own, given) = pair.split_once('=')?;
        Some((own.parse().ok()?, given.parse().ok()?))
    };
    text.split(',').filter_map(pair).collect()
}

/// Returns true if an endpoint accepts connections.
pub fn is_ready(endpoint: &Endpoint) -> bool {
    // An unknown state counts as ready.
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
}

/// Returns the ports of a Service.
pub fn ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    service.spec.iter().flat_map(|spec| spec.ports.iter().flatten())
}

fn addresses(service: &Service) -> Vec<IpAddr> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.into_iter().flat_map(|status| status.ingress.iter().flatten());
    ingress.filter_map(|ingress| ingress.ip.as_ref()?.parse().ok()).collect()
}

/// Returns the protocol of a port, in capitals.
pub fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

fn scheme(port: &ServicePort, https: bool) -> &'static str {
    let says =
        |text: &Option<String>| text.as_deref().is_some_and(|text| text == "https" || text.starts_with("https-"));
    match protocol(port) {
        "UDP" => "udp",
        "SCTP" => "sctp",
        _ if https || says(&port.app_protocol) || says(&port.name) || port.port == 443 => "https",
        _ => "http",
    }
}

/// Returns a port as lists show it: its name, if it has one, and its number.
pub fn port_name(port: &ServicePort) -> String {
    let name = port.name.as_ref().map(|name| format!("{name}/")).unwrap_or_default();
    let protocol = if protocol(port) == "TCP" { String::new() } else { format!("/{}", protocol(port)) };
    format!("{name}{}{protocol}", port.port)
}

/// Returns the type of a Service.
pub fn kind(service: &Service) -> &str {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP")
}

/// Returns the reason why no host can reach a Service of this kind, if so.
pub fn hidden(service: &Service) -> Option<Error> {
    let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
    let spec = service.spec.as_ref()?;
    let cannot = |why: String| Error::new(Id::ServiceUnreachable, format!("the service {namespace}/{name} {why}"));
    if kind(service) == "ExternalName" {
        let other = spec.external_name.as_deref().unwrap_or_default();
        return Some(cannot(format!("is only a name for {other} within the cluster (ExternalName)")));
    }
    if spec.cluster_ip.as_deref() == Some("None") {
        return Some(cannot("is headless: it has no address of its own, only its pods have".to_owned()).hint(format!(
            "reach one of its pods with: kcl kubectl -- port-forward -n {namespace} service/{name} :PORT"
        )));
    }
    (kind(service) == "ClusterIP").then(|| {
        cannot("is reached only within the cluster: its type is ClusterIP".to_owned())
            .hint(format!(
                "give it an address with: kcl kubectl -- patch service {name} -n {namespace} -p \
                 '{{\"spec\":{{\"type\":\"LoadBalancer\"}}}}'"
            ))
            .hint(format!("or for once: kcl kubectl -- port-forward -n {namespace} service/{name} :PORT"))
    })
}

/// Returns the reason why this host cannot reach a Service that has endpoints.
pub fn unreached(service: &Service, host: &Host) -> Error {
    let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
    let cannot = |why: &str| Error::new(Id::ServiceUnreachable, format!("the service {namespace}/{name} {why}"));
    if host.is_near() {
        return cannot("has neither an address nor a node port yet")
            .hint(format!("see why with: kcl kubectl -- describe service {name} -n {namespace}"));
    }
    let node_port = ports(service).find_map(|port| port.node_port);
    let error = cannot(
        "is reached by none of the ports that the cluster publishes, and this host has no other way to its nodes",
    );
    match node_port {
        Some(port) => error.hint(format!("make the cluster with the port published: kcl start --ports 8080:{port}")),
        None => error,
    }
    .hint(format!("or for once: kcl kubectl -- port-forward -n {namespace} service/{name} :PORT"))
}

#[cfg(test)]
mod tests {
    use kcl_driver_api::Protocol;
    use serde_json::{Value, json};

    use super::*;

    fn service(spec: Value, ip: Option<&str>) -> Service {
        let ingress: Vec<Value> = ip.into_iter().map(|ip| json!({"ip": ip})).collect();
        let value = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": spec,
            "status": {"loadBalancer": {"ingress": ingress}},
        });
        serde_json::from_value(value).expect("a service")
    }

    fn near() -> Host {
        let node = |last| NodeAddress { address: [10, 89, 0, last].into(), reach: Reach::Address };
        Host { nodes: vec![node(2), node(3)], ports: Vec::new() }
    }

    fn far(ports: &[(u16, u16, Protocol)]) -> Host {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let reach = Reach::Published { bind: loopback, at: loopback };
        let nodes = vec![NodeAddress { address: [10, 89, 0, 2].into(), reach }];
        let ports = ports.iter().map(|&(port, machine_port, protocol)| PublishedPort {
            address: loopback,
            port,
            machine_port,
            protocol,
        });
        Host { nodes, ports: ports.collect() }
    }

    fn urls(service: &Service, host: &Host, https: bool) -> Vec<String> {
        ways(service, host, https).iter().map(Url::to_string).collect()
    }

    fn several() -> Value {
        json!({"type": "LoadBalancer", "ports": [
            {"name": "web", "port": 80, "nodePort": 30080},
            {"name": "https", "port": 8443, "nodePort": 30443},
            {"name": "dns", "port": 53, "nodePort": 30053, "protocol": "UDP"},
        ]})
    }

    #[test]
    fn its_own_address_comes_before_a_nodes() {
        let service = service(several(), Some("10.89.0.200"));
        let want = ["http://10.89.0.200:80", "https://10.89.0.200:8443", "udp://10.89.0.200:53"];
        assert_eq!(urls(&service, &near(), false), want);
        assert_eq!(urls(&service, &near(), true)[0], "https://10.89.0.200:80");
    }

    #[test]
    fn else_it_is_a_port_of_a_node() {
        let service = service(several(), None);
        let want = ["http://10.89.0.2:30080", "https://10.89.0.2:30443", "udp://10.89.0.2:30053"];
        assert_eq!(urls(&service, &near(), false), want);
    }

    #[test]
    fn where_machines_have_no_address_here_only_published_ports_count() {
        let host = far(&[(8080, 30080, Protocol::Tcp), (5353, 30053, Protocol::Udp), (9443, 30443, Protocol::Udp)]);
        let service = service(several(), Some("10.89.0.200"));
        assert_eq!(urls(&service, &host, false), ["http://127.0.0.1:8080", "udp://127.0.0.1:5353"]);
        let error = unreached(&service, &far(&[]));
        assert!(error.hints[0].contains("--ports 8080:30080"), "{:?}", error.hints);
    }

    #[test]
    fn ports_of_loopback_count() {
        let mut given = service(several(), Some("10.89.0.200"));
        given.metadata.annotations = Some([("kcl.dev/loopback".to_owned(), "80=41000".to_owned())].into());
        assert_eq!(urls(&given, &far(&[]), false), ["http://127.0.0.1:41000"]);
        assert_eq!(urls(&given, &far(&[(8080, 30080, Protocol::Tcp)]), false), ["http://127.0.0.1:8080"]);
        assert_eq!(urls(&given, &near(), false)[..2], ["http://127.0.0.1:41000", "https://10.89.0.200:8443"]);
    }

    #[test]
    fn a_service_on_the_nodes_own_address_is_reached_by_its_own_port() {
        let service = service(json!({"type": "LoadBalancer", "ports": [{"port": 80}]}), Some("10.89.0.2"));
        assert_eq!(urls(&service, &far(&[(8080, 80, Protocol::Tcp)]), false), ["http://127.0.0.1:8080"]);
    }

    #[test]
    fn why_there_is_no_way() {
        let why = |spec: Value| hidden(&service(spec, None)).map(|error| error.message).unwrap_or_default();
        assert!(why(json!({"clusterIP": "None"})).contains("headless"));
        assert!(why(json!({"type": "ExternalName", "externalName": "example.org"})).contains("example.org"));
        assert!(why(json!({"type": "ClusterIP", "clusterIP": "10.96.0.9"})).contains("only within the cluster"));
        assert_eq!(why(json!({"type": "NodePort", "clusterIP": "10.96.0.9"})), "");
        assert!(unreached(&service(json!({}), None), &near()).hints[0].contains("describe service web"));
    }

    #[test]
    fn ports_in_lists() {
        let names: Vec<_> = ports(&service(several(), None)).map(port_name).collect();
        assert_eq!(names, ["web/80", "https/8443", "dns/53/UDP"]);
    }
}
