//! `policy test`: the answer to the question of whether policies allow a connection, from the API's objects and by the code
//! that makes the nodes' rules.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kcl_policy::evaluate::{Decision, End, evaluate};
use kcl_policy::{ApiPod, Key, Pod, Policy, Protocol, World};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde::Serialize;

use super::machine;
use crate::app::App;
use crate::error::{Error, Id, Result};
use crate::kubernetes;
use crate::text::nearest;

/// A connection that may be allowed.
#[derive(Clone, Debug)]
pub struct ConnectionRequest {
    /// Its beginning: `[NAMESPACE/]POD` or an address.
    pub from: String,
    /// Its end: `[NAMESPACE/]POD[:PORT]` or `ADDRESS[:PORT]`.
    pub to: String,
    /// The protocol of the port.
    pub protocol: Protocol,
    /// The namespace of pods that are named without one.
    pub namespace: String,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConnectionReport {
    /// The connection is allowed at both of its ends.
    pub allowed: bool,
    /// Its beginning: a pod as `NAMESPACE/NAME`, or an address.
    pub from: String,
    /// Its end, in the same form.
    pub to: String,
    /// The protocol: `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The number of the port; none for protocols without ports.
    pub port: Option<u16>,
    /// The decision where it begins.
    pub egress: EndReport,
    /// The decision where it ends.
    pub ingress: EndReport,
}

/// The decision at one end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EndReport {
    /// The decision: `Allowed`, `Denied`, `NotIsolated`, or `Exempt` for what no policy can deny.
    pub decision: &'static str,
    /// The policies that allow the connection, or those that isolate the pod, as `NAMESPACE/NAME`.
    pub policies: Vec<String>,
}

/// Tells whether the policies of a running cluster allow a connection.
///
/// # Errors
/// `NotFound` if there is no such pod, `Usage` if the port cannot be understood.
pub async fn test_connection(app: &App, cluster: &str, request: &ConnectionRequest) -> Result<ConnectionReport> {
    let state = app.existing(cluster)?;
    // If the cluster does not run, this fails at once; a request to the API would time out.
    machine(app, cluster, None).await?;
    let client = kubernetes::connect(&app.access(&state)?)?;
    let world = world(&client).await.map_err(|error| {
        Error::new(Id::ApiFailed, format!("the API of cluster \"{cluster}\" does not answer: {error}"))
            .hint(format!("see how it is with: kcl status -p {cluster}"))
            .source(error)
    })?;
    report(&world, request)
}

async fn world(client: &kube::Client) -> kube::Result<World> {
    let all = ListParams::default();
    let namespaces = Api::<Namespace>::all(client.clone()).list_metadata(&all).await?;
    let pods = Api::<ApiPod>::all(client.clone()).list(&all).await?;
    let policies = Api::<NetworkPolicy>::all(client.clone()).list(&all).await?;
    let mut world = World::default();
    for namespace in namespaces {
        world.namespaces.insert(namespace.name_any(), namespace.metadata.labels.unwrap_or_default());
    }
    world.pods = pods.into_iter().map(Pod::from).map(|pod| (pod.key.clone(), pod)).collect();
    let policies = policies.iter().map(Policy::from);
    world.policies = policies.map(|policy| (policy.key.clone(), policy)).collect();
    Ok(world)
}

fn report(world: &World, request: &ConnectionRequest) -> Result<ConnectionReport> {
    let (to, port) = split_port(&request.to);
    let (from, to) = (end(world, &request.from, request)?, end(world, to, request)?);
    let port = port.map(|port| number(to, port, request.protocol)).transpose()?;
    let verdict = evaluate(world, from, to, port.map(|port| (request.protocol, port)));
    Ok(ConnectionReport {
        allowed: verdict.allowed(),
        from: name(from),
        to: name(to),
        protocol: request.protocol.to_string(),
        port,
        egress: EndReport::from(verdict.egress),
        ingress: EndReport::from(verdict.ingress),
    })
}

impl From<Decision> for EndReport {
    fn from(decision: Decision) -> Self {
        let (decision, policies) = match decision {
            Decision::Allowed(policies) => ("Allowed", policies),
            Decision::Denied(policies) => ("Denied", policies),
            Decision::NotIsolated => ("NotIsolated", Vec::new()),
            Decision::Exempt => ("Exempt", Vec::new()),
        };
        EndReport { decision, policies: policies.iter().map(ToString::to_string).collect() }
    }
}

/// Splits `TO:PORT`. An IPv6 address with a port stands in brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    if text.parse::<IpAddr>().is_ok() {
        return (text, None);
    }
    match text.rsplit_once(':') {
        Some((to, port)) => (to, Some(port)),
        None => (text, None),
    }
}

/// Returns the end of a connection: the pod that has the name or the address, or an address that no pod has.
fn end<'w>(world: &'w World, text: &str, request: &ConnectionRequest) -> Result<End<'w>> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        let holder = world.pods.values().find(|pod| !pod.host_network && pod.addresses.contains(&address));
        return Ok(holder.map_or(End::Address(address), End::Pod));
    }
    let (namespace, name) = text.split_once('/').unwrap_or((&request.namespace, text));
    world.pods.get(&Key::new(namespace, name)).map(End::Pod).ok_or_else(|| missing(world, namespace, name))
}

fn missing(world: &World, namespace: &str, name: &str) -> Error {
    let error = Error::new(Id::PodNotFound, format!("there is no pod \"{name}\" in the namespace {namespace}"));
    let elsewhere = world.pods.keys().find(|key| key.name == name);
    let here = world.pods.keys().filter(|key| key.namespace == namespace).map(|key| key.name.as_str());
    match (elsewhere, nearest(name, here)) {
        (Some(key), _) => error.hint(format!("there is one in another namespace: {key}")),
        (None, Some(near)) => error.hint(format!("did you mean \"{near}\"?")),
        (None, None) => error.hint(format!("see the pods with: kcl kubectl -- get pods -n {namespace}")),
    }
}

/// Returns the number of a port that may be named.
fn number(to: End<'_>, port: &str, protocol: Protocol) -> Result<u16> {
    if let Ok(number) = port.parse::<u16>()
        && number > 0
    {
        return Ok(number);
    }
    let named = match to {
        End::Pod(pod) => pod.ports_named(protocol, port).next(),
        End::Address(_) => None,
    };
    named.ok_or_else(|| {
        let message = format!("the port {port:?} of {} is neither a number from 1 to 65535 nor a name there", name(to));
        let error = Error::new(Id::FlagInvalid, message);
        let End::Pod(pod) = to else { return error };
        let known: Vec<String> =
            pod.ports.iter().map(|(name, protocol, number)| format!("{name} ({protocol}/{number})")).collect();
        if known.is_empty() { error } else { error.hint(format!("the names there are: {}", known.join(", "))) }
    })
}

fn name(end: End<'_>) -> String {
    match end {
        End::Pod(pod) => pod.key.to_string(),
        End::Address(address) => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> World {
        let pod = |name: &str, address: &str| -> Pod {
            let value = serde_json::json!({
                "metadata": {"namespace": "shop", "name": name, "labels": {"app": name}},
                "spec": {"nodeName": "n", "containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]},
                "status": {"podIPs": [{"ip": address}]},
            });
            serde_json::from_value::<ApiPod>(value).unwrap().into()
        };
        let policy: NetworkPolicy = serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "shop", "name": "db"},
            "spec": {"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{
                "from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": "http"}],
            }]},
        }))
        .unwrap();
        let mut world = World::default();
        world.namespaces.insert("shop".to_owned(), Default::default());
        for pod in [pod("web", "10.0.0.1"), pod("db", "10.0.0.2")] {
            world.pods.insert(pod.key.clone(), pod);
        }
        world.policies.insert(Key::new("shop", "db"), Policy::from(&policy));
        world
    }

    fn ask(from: &str, to: &str) -> Result<ConnectionReport> {
        let request = ConnectionRequest {
            from: from.to_owned(),
            to: to.to_owned(),
            protocol: Protocol::Tcp,
            namespace: "shop".to_owned(),
        };
        report(&world(), &request)
    }

    #[test]
    fn the_deciding_policies_are_named() {
        let found = ask("web", "db:http").unwrap();
        assert!(found.allowed);
        assert_eq!((found.to.as_str(), found.port), ("shop/db", Some(8080)));
        assert_eq!(found.ingress, EndReport { decision: "Allowed", policies: vec!["shop/db".to_owned()] });
        assert_eq!(found.egress.decision, "NotIsolated");
        let found = ask("192.0.2.1", "shop/db:8080").unwrap();
        assert_eq!((found.allowed, found.ingress.decision), (false, "Denied"));
    }

    #[test]
    fn a_pod_is_also_known_by_its_address() {
        assert!(ask("10.0.0.1", "10.0.0.2:8080").unwrap().allowed);
        assert!(!ask("10.0.0.1", "10.0.0.2").unwrap().allowed, "no protocol without ports is allowed");
        assert_eq!(ask("fd00::1", "[fd00::2]:53").unwrap().to, "fd00::2");
    }

    #[test]
    fn what_is_not_there_is_an_error_with_a_way_on() {
        let error = ask("web", "dbb:http").unwrap_err();
        assert_eq!((error.id, error.hints[0].as_str()), (Id::PodNotFound, "did you mean \"db\"?"));
        let error = ask("other/web", "db:http").unwrap_err();
        assert_eq!(error.hints, ["there is one in another namespace: shop/web"]);
        let error = ask("web", "db:htp").unwrap_err();
        assert_eq!((error.id, error.hints[0].as_str()), (Id::FlagInvalid, "the names there are: http (tcp/8080)"));
        assert_eq!(ask("web", "db:0").unwrap_err().id, Id::FlagInvalid);
    }
}
