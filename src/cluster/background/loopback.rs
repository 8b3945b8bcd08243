//! Services on this host's loopback: a kcl in the background listens on ports of 127.0.0.1 and forwards connections
//! into the cluster. If this host cannot reach nodes by their addresses, it does so for Services with a node port or an
//! address; in any case for Services that ask for a port with the annotation [`ASKED`]. Only TCP is forwarded.
//!
//! The process has no state of its own: the ports that it assigns are in an annotation of the Service, [`GIVEN`], and
//! it assigns the same ones again while they are free.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kcl_driver_api::Driver;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::addons::{self, ObjectName, Selected};
use crate::app::App;
use crate::cluster::drivers;
use crate::error::{Error, Id, Result};
use crate::kubernetes;
use crate::state::ClusterState;
use crate::urls::{self, GIVEN, Host};

/// The annotation by which a Service asks for a port of loopback for its first port.
const ASKED: &str = "kcl.dev/loopback-port";
/// The lowest port that a Service gets: below are those of the system (RFC 6335).
const LOWEST: u16 = 1024;
/// The most ports at a time.
const MOST: usize = 64;
/// The time that a new process has until it listens: it queries the API first.
const GRACE: Duration = Duration::from_secs(30);
/// The pause between two attempts to accept when this process has no free file descriptor.
const PAUSE: Duration = Duration::from_millis(100);

/// Ensures that the Services of a running cluster are on loopback, if some belong there.
///
/// # Errors
/// The process that forwards their ports cannot be started.
pub(crate) async fn follow(app: &App, state: &ClusterState, driver: &dyn Driver, addons: &[Selected]) -> Result<()> {
    let cluster = &state.spec.name;
    if !is_wanted(state, driver, addons).await? {
        end(app, cluster).await;
        return Ok(());
    }
    let failed = |why: String| {
        Error::new(Id::BackgroundFailed, format!("the services of \"{cluster}\" are on no port of loopback: {why}"))
    };
    let file = file(app, cluster);
    super::start(app, &file, ["-p", cluster, "loopback"]).map_err(|error| failed(error.to_string()))?;
    match super::note::<()>(&file, GRACE).await {
        Some(_) => Ok(()),
        None => Err(failed(super::complaint(&file))),
    }
}

/// Removes the Services of a cluster from loopback.
pub(crate) async fn end(app: &App, cluster: &str) {
    let Some(note) = super::note::<()>(&file(app, cluster), GRACE).await else { return };
    let pid = note.process.pid;
    if !super::end(note).await {
        app.progress.warn(format!("process {pid}, which has the services of \"{cluster}\" on loopback, stays"));
    }
}

/// Returns true if this host reaches no node by its address, or an addon has Services that ask for ports.
async fn is_wanted(state: &ClusterState, driver: &dyn Driver, addons: &[Selected]) -> Result<bool> {
    let asked = addons.iter().any(|one| one.addon.description.loopback);
    Ok(asked || !urls::host(state, driver).await?.is_near())
}

/// Returns the path of the process's note.
fn file(app: &App, cluster: &str) -> PathBuf {
    app.store.paths().cluster(cluster).join("loopback")
}

/// Keeps the Services of a cluster on loopback until the cluster is gone. Standard input is the lock under which this
/// process was started.
///
/// # Errors
/// The cluster cannot be queried.
pub async fn serve(app: &App, cluster: &str) -> Result<()> {
    super::detach();
    let state = app.existing(cluster)?;
    let client = kubernetes::connect(&app.access(&state)?)?;
    let host = urls::host(&state, drivers::driver_of(app, &state)?.as_ref()).await?;
    let mut ports = Ports { app, cluster, client: client.clone(), host: Arc::new(host), open: BTreeMap::new() };
    let mut there = BTreeSet::new();
    let mut said = false;
    let mut events = std::pin::pin!(watcher(Api::all(client), watcher::Config::default()).default_backoff());
    loop {
        match events.try_next().await {
            Ok(Some(Event::Init)) => there.clear(),
            Ok(Some(Event::InitApply(service))) => {
                there.insert(key(&service));
                ports.lead(&service).await;
            }
            Ok(Some(Event::InitDone)) => {
                ports.open.retain(|(service, _), _| there.contains(service));
                if !said {
                    super::say(()).map_err(|error| Error::new(Id::BackgroundFailed, error.to_string()))?;
                    said = true;
                }
            }
            Ok(Some(Event::Apply(service))) => ports.lead(&service).await,
            Ok(Some(Event::Delete(service))) => ports.open.retain(|(open, _), _| *open != key(&service)),
            Ok(None) => return Ok(()),
            // The watch restarts by itself, unless the cluster is gone.
            Err(error) if file(app, cluster).exists() => tracing::debug!(%error, "watch"),
            Err(_) => return Ok(()),
        }
    }
}

/// The namespace and name of a Service.
type Key = (String, String);

fn key(service: &Service) -> Key {
    (service.namespace().unwrap_or_default(), service.name_any())
}

/// The ports of Services that are on loopback.
struct Ports<'a> {
    app: &'a App,
    cluster: &'a str,
    client: Client,
    host: Arc<Host>,
    /// The open ports, by Service and its port.
    open: BTreeMap<(Key, u16), Port>,
}

/// A port of loopback. Dropping it closes its connections.
struct Port {
    number: u16,
    /// The Service's port as it was when this one was opened.
    of: ServicePort,
    _tasks: JoinSet<()>,
}

impl Ports<'_> {
    /// Updates loopback to a Service as it is now, and annotates the Service with its ports.
    async fn lead(&mut self, service: &Service) {
        let key = key(service);
        let asked = self.asked(service).await;
        let wanted: Vec<(u16, ServicePort, Vec<u16>)> = wanted(service, asked, self.host.is_near());
        let numbers: BTreeSet<u16> = wanted.iter().map(|(number, ..)| *number).collect();
        self.open.retain(|(open, number), _| *open != key || numbers.contains(number));
        for (number, port, choices) in wanted {
            let place = (key.clone(), number);
            if self.open.get(&place).is_some_and(|open| open.of == port) {
                continue;
            }
            // The previous port has to release its number first.
            self.open.remove(&place);
            if self.open.len() >= MOST {
                let (namespace, name) = &key;
                self.app.progress.warn(format!("{namespace}/{name} is on no port of loopback: {MOST} are in use"));
                break;
            }
            match listen(&choices).await {
                Ok((listener, given)) => {
                    let way = Way {
                        client: self.client.clone(),
                        host: self.host.clone(),
                        service: key.clone(),
                        port: port.clone(),
                        turn: AtomicUsize::new(0),
                    };
                    let mut tasks = JoinSet::new();
                    tasks.spawn(admit(listener, Arc::new(way)));
                    self.open.insert(place, Port { number: given, of: port, _tasks: tasks });
                }
                Err(error) => self.app.progress.warn(format!("no port of loopback is free: {error}")),
            }
        }
        self.tell(service).await;
    }

    /// Returns the port that a Service asks for. Only what an addon with such Services has made may ask: who may edit
    /// Services in a cluster has no say in the ports of this host.
    async fn asked(&self, service: &Service) -> Option<u16> {
        let port = service.annotations().get(ASKED)?.parse().ok().filter(|port| *port >= LOWEST)?;
        let cluster = &self.cluster;
        let state = self.app.store.load(cluster).ok().flatten()?;
        let addons = self.app.addons(&state.spec).ok()?;
        let records = addons::records(&self.client).await.ok()?;
        let asks = |one: &Selected| {
            let record = records.get(&one.addon.name).filter(|_| one.addon.description.loopback);
            record.is_some_and(|record| record.objects.iter().any(|object| is_of(object, service)))
        };
        addons.iter().any(asks).then_some(port)
    }

    /// Annotates a Service with its ports of loopback.
    async fn tell(&self, service: &Service) {
        let key = key(service);
        let of_it = self.open.iter().filter(|((open, _), _)| *open == key);
        let text: Vec<_> = of_it.map(|((_, number), port)| format!("{number}={}", port.number)).collect();
        let text = (!text.is_empty()).then(|| text.join(","));
        if service.annotations().get(GIVEN) == text.as_ref() {
            return;
        }
        let api: Api<Service> = Api::namespaced(self.client.clone(), &key.0);
        let patch = Patch::Merge(json!({"metadata": {"annotations": {GIVEN: text}}}));
        if let Err(error) = api.patch(&key.1, &PatchParams::default(), &patch).await {
            // A Service that is being deleted needs no annotation.
            tracing::debug!(%error, service = key.1, "not told");
        }
    }
}

/// Returns true if a record names a Service.
fn is_of(object: &ObjectName, service: &Service) -> bool {
    object.kind == "Service" && object.name == service.name_any() && object.namespace == service.namespace()
}

/// Returns the ports of a Service that belong on loopback, each with the numbers that it prefers there, best first; `asked`
/// is the one that it may have in any case.
fn wanted(service: &Service, asked: Option<u16>, near: bool) -> Vec<(u16, ServicePort, Vec<u16>)> {
    let far = !near && matches!(urls::kind(service), "LoadBalancer" | "NodePort");
    if service.metadata.deletion_timestamp.is_some() || (asked.is_none() && !far) {
        return Vec::new();
    }
    let given = urls::given(service);
    let tcp = urls::ports(service).filter(|port| urls::protocol(port) == "TCP");
    let tcp = tcp.filter_map(|port| Some((u16::try_from(port.port).ok()?, port.clone())));
    let ports = tcp.enumerate().map(|(index, (number, port))| {
        let own = match urls::kind(service) {
            "NodePort" => port.node_port.and_then(|port| u16::try_from(port).ok()),
            _ => Some(number),
        };
        let asked = asked.filter(|_| index == 0);
        // The requested port may have become free since another one was assigned.
        let choices = asked.into_iter().chain(given.get(&number).copied()).chain(own).collect();
        (number, port, choices)
    });
    ports.take(if far { usize::MAX } else { 1 }).collect()
}

/// Listens on the first of these ports that is free, otherwise on any free port.
async fn listen(choices: &[u16]) -> io::Result<(TcpListener, u16)> {
    for &port in choices {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            return Ok((listener, port));
        }
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// Accepts connections and forwards each one.
async fn admit(listener: TcpListener, way: Arc<Way>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((here, _)) => {
                    let way = way.clone();
                    connections.spawn(async move {
                        if let Err(error) = way.lead(here).await {
                            tracing::debug!(%error, "a connection ends");
                        }
                    });
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The route to a port of a Service.
struct Way {
    client: Client,
    host: Arc<Host>,
    service: Key,
    port: ServicePort,
    /// The number of connections so far, for a round robin over the endpoints.
    turn: AtomicUsize,
}

impl Way {
    /// Forwards a connection to the Service: by an address that this host reaches, otherwise to one of its pods through
    /// the API server.
    async fn lead(&self, mut here: TcpStream) -> io::Result<()> {
        if self.host.is_near() {
            let api: Api<Service> = Api::namespaced(self.client.clone(), &self.service.0);
            let service = api.get(&self.service.1).await.map_err(io::Error::other)?;
            let way = urls::direct(&service, &self.port, &self.host).ok_or(io::ErrorKind::HostUnreachable)?;
            let mut there = TcpStream::connect(way).await?;
            return copy_bidirectional(&mut here, &mut there).await.map(drop);
        }
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.service.0);
        let endpoints = self.endpoints().await.map_err(io::Error::other)?;
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut failed = io::Error::from(io::ErrorKind::ConnectionRefused);
        for index in 0..endpoints.len() {
            let (pod, port) = &endpoints[(first + index) % endpoints.len()];
            match pods.portforward(pod, &[*port]).await {
                Ok(mut forward) => {
                    let mut there = forward.take_stream(*port).ok_or(io::ErrorKind::ConnectionRefused)?;
                    return copy_bidirectional(&mut here, &mut there).await.map(drop);
                }
                // The pod may just have gone, so try the next one.
                Err(error) => failed = io::Error::other(error),
            }
        }
        Err(failed)
    }

    /// Returns the pods behind the Service, and their ports.
    async fn endpoints(&self) -> kube::Result<Vec<(String, u16)>> {
        let (namespace, name) = &self.service;
        let slices: Api<EndpointSlice> = Api::namespaced(self.client.clone(), namespace);
        let slices = slices.list(&ListParams::default().labels(&format!("kubernetes.io/service-name={name}"))).await?;
        Ok(slices.items.iter().flat_map(|slice| pods(slice, &self.port)).collect())
    }
}

/// Returns the ready pods of a slice, each with the port that corresponds to a Service's.
fn pods(slice: &EndpointSlice, of: &ServicePort) -> Vec<(String, u16)> {
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let port = slice.ports.iter().flatten().find(|port| name(&port.name) == name(&of.name));
    let Some(port) = port.and_then(|port| u16::try_from(port.port?).ok()) else { return Vec::new() };
    let ready = slice.endpoints.iter().flatten().filter(|endpoint| urls::is_ready(endpoint));
    let pods = ready.filter_map(|endpoint| endpoint.target_ref.as_ref().filter(|of| of.kind.as_deref() == Some("Pod")));
    pods.filter_map(|pod| Some((pod.name.clone()?, port))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(kind: &str, annotations: serde_json::Value) -> Service {
        let ports = json!([
            {"name": "web", "port": 80, "nodePort": 30080},
            {"name": "dns", "port": 53, "nodePort": 30053, "protocol": "UDP"},
            {"name": "tls", "port": 443, "nodePort": 30443},
        ]);
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "default", "annotations": annotations},
            "spec": {"type": kind, "ports": ports},
        }))
        .expect("a service")
    }

    fn numbers(service: &Service, near: bool) -> Vec<(u16, Vec<u16>)> {
        asking(service, None, near)
    }

    fn asking(service: &Service, asked: Option<u16>, near: bool) -> Vec<(u16, Vec<u16>)> {
        wanted(service, asked, near).into_iter().map(|(number, _, choices)| (number, choices)).collect()
    }

    #[test]
    fn where_no_node_is_reached_all_that_have_a_way_in_are_there() {
        let all = service("LoadBalancer", json!({}));
        assert_eq!(numbers(&all, false), [(80, vec![80]), (443, vec![443])]);
        assert_eq!(numbers(&all, true), []);
        assert_eq!(numbers(&service("NodePort", json!({})), false), [(80, vec![30080]), (443, vec![30443])]);
        assert_eq!(numbers(&service("ClusterIP", json!({})), false), []);
    }

    #[test]
    fn what_was_given_is_given_again() {
        let told = service("LoadBalancer", json!({GIVEN: "80=8080,443=8443"}));
        assert_eq!(urls::given(&told), [(80, 8080), (443, 8443)].into());
        assert_eq!(numbers(&told, false), [(80, vec![8080, 80]), (443, vec![8443, 443])]);
    }

    #[test]
    fn who_asks_has_it_anywhere() {
        let asks = service("NodePort", json!({ASKED: "5000", GIVEN: "80=41234"}));
        assert_eq!(asking(&asks, Some(5000), true), [(80, vec![5000, 41234, 30080])]);
        assert_eq!(numbers(&asks, true), [], "an annotation alone is no right");
    }

    #[test]
    fn a_record_names_a_service_by_kind_namespace_and_name() {
        let of = |kind: &str, namespace: &str, name: &str| ObjectName {
            api_version: "v1".to_owned(),
            kind: kind.to_owned(),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
            keep: false,
        };
        let web = service("ClusterIP", json!({}));
        assert!(is_of(&of("Service", "default", "web"), &web));
        for other in [of("Secret", "default", "web"), of("Service", "other", "web"), of("Service", "default", "x")] {
            assert!(!is_of(&other, &web));
        }
    }

    #[test]
    fn a_port_stands_for_that_of_the_same_name_at_ready_pods() {
        let slice = serde_json::from_value(json!({
            "metadata": {"name": "web-1"},
            "addressType": "IPv4",
            "ports": [{"name": "tls", "port": 8443}, {"name": "web", "port": 8080}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": "a"}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}, "targetRef": {"kind": "Pod", "name": "b"}},
                {"addresses": ["10.0.0.3"], "targetRef": {"kind": "Pod", "name": "c"}},
                {"addresses": ["10.0.0.4"]},
            ],
        }));
        let slice: EndpointSlice = slice.expect("a slice");
        let port = |name: &str| ServicePort { name: Some(name.to_owned()), ..ServicePort::default() };
        assert_eq!(pods(&slice, &port("web")), [("a".to_owned(), 8080), ("c".to_owned(), 8080)]);
        assert_eq!(pods(&slice, &port("other")), []);
    }
}
