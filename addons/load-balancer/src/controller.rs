//! The controller: allocates addresses and chooses the node that answers for each. One process in a cluster.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{self, BoxStream, StreamExt};
use futures::{FutureExt, pin_mut};
use k8s_openapi::api::apps::v1::Deployment;
use kcl_node_spec::Addresses;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until, timeout};

use crate::decide::{Decision, World, decide, nothing, ours};
use crate::error::{Doing, Result};
use crate::objects::{ANNOUNCED_BY, EndpointSlice, Key, Node, Service};
use crate::probe::{self, Prober};
use crate::report::Reports;
use crate::settings::Controller;
use crate::withdrawal::withdrawn;

/// The delay before a failed request is retried, and its timeout.
const AGAIN: Duration = Duration::from_secs(1);

/// The field selector of Services: the API server filters out all other types.
const LOAD_BALANCERS: &str = "spec.type=LoadBalancer";

/// The label selector of EndpointSlices: those of headless Services are left out.
const WITH_ADDRESS: &str = "!service.kubernetes.io/headless";

/// An event that the controller handles.
enum News {
    Service(watcher::Event<Service>),
    Node(watcher::Event<Node>),
    Slice(watcher::Event<EndpointSlice>),
    /// The addon is being removed.
    Withdrawn,
}

/// Runs until SIGTERM.
pub(crate) async fn run(client: Client, settings: Controller) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).doing(|| "wait for SIGTERM".to_owned())?;
    let services = watcher::Config::default().fields(LOAD_BALANCERS);
    let slices = watcher::Config::default().labels(WITH_ADDRESS);
    let gone = withdrawn::<Deployment>(client.clone(), &settings.namespace, &settings.workload);
    let news = stream::select_all([
        watch(Api::all(client.clone()), services, News::Service),
        watch(Api::all(client.clone()), watcher::Config::default(), News::Node),
        watch(Api::all(client.clone()), slices, News::Slice),
        gone.map(|()| News::Withdrawn).boxed(),
    ]);
    pin_mut!(news);
    let mut prober = Prober::start();
    let mut balancer = Balancer { reports: Reports::new(client.clone()), client, settings, world: World::default() };
    let mut again: Option<Instant> = None;
    match &balancer.settings.pool {
        Some(pool) => println!("allocating from {pool}"),
        None => println!("allocating the addresses of the nodes"),
    }
    loop {
        let later = async {
            match again {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let first = tokio::select! {
            first = news.next() => first,
            _ = prober.unreachable.changed() => None,
            () = later => None,
            _ = terminate.recv() => return Ok(()),
        };
        balancer.world.unreachable.clone_from(&prober.unreachable.borrow_and_update());
        // Events that are already queued are handled as one decision.
        let mut next = first;
        while let Some(item) = next {
            if matches!(item, News::Withdrawn) {
                balancer.withdraw().await?;
                // A process that ends before its pod is deleted would be restarted.
                terminate.recv().await;
                return Ok(());
            }
            balancer.take(item).await;
            next = news.next().now_or_never().flatten();
        }
        if balancer.knows_all() {
            let done = balancer.act().await;
            again = (!done).then(|| Instant::now() + AGAIN);
            prober.ask(balancer.whom_to_ask());
        }
    }
}

/// Returns the endless stream of a watch's events. After an error the watch retries with a backoff.
fn watch<K>(api: Api<K>, config: watcher::Config, news: fn(watcher::Event<K>) -> News) -> BoxStream<'static, News>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let stream = watcher(api, config).default_backoff();
    let told = move |event: watcher::Result<watcher::Event<K>>| {
        let event = event.inspect_err(|error| eprintln!("a watch is restarted: {error}"));
        std::future::ready(event.ok().map(news))
    };
    stream.filter_map(told).boxed()
}

struct Balancer {
    client: Client,
    settings: Controller,
    world: World,
    reports: Reports,
}

impl Balancer {
    async fn take(&mut self, news: News) {
        match news {
            News::Service(event) => {
                // The Service is deleted, or has another type; then only the annotation is left.
                let gone = self.world.services.take(event).filter(|service| service.announced_by().is_some());
                if let Some(service) = gone {
                    let patch = json!({"metadata": {"uid": service.uid(), "annotations": {ANNOUNCED_BY: null}}});
                    let _ = self.patch(&Key::of(&service), &patch).await;
                }
            }
            News::Node(event) => drop(self.world.nodes.take(event)),
            News::Slice(event) => drop(self.world.slices.take(event)),
            News::Withdrawn => {}
        }
    }

    fn knows_all(&self) -> bool {
        self.world.services.synced() && self.world.nodes.synced() && self.world.slices.synced()
    }

    /// Reconciles all Services. Returns false if a request failed.
    async fn act(&mut self) -> bool {
        if self.settings.pool.is_none() {
            self.world.listening = self.listening().await;
        }
        let decisions = decide(&self.settings, &self.world);
        let results =
            join_all(self.changes(&decisions).map(|(decision, before)| self.carry_out(decision, before))).await;
        let done = results.iter().all(Result::is_ok);
        for service in results.into_iter().flatten().flatten() {
            self.world.services.put(service);
        }
        self.reports.problems(&decisions).await;
        done
    }

    /// Returns the decisions that are not in effect yet, with the current Services.
    fn changes<'a>(&'a self, decisions: &'a [Decision]) -> impl Iterator<Item = (&'a Decision, &'a Service)> {
        let find = |key: &Key| self.world.services.iter().find(|(known, _)| *known == key).map(|(_, service)| service);
        decisions
            .iter()
            .filter_map(move |decision| find(&decision.key).map(|service| (decision, service)))
            .filter(|(decision, service)| !decision.is_so(service))
    }

    /// Applies a decision. Returns the new Service, or `None` if it was deleted or replaced.
    async fn carry_out(&self, decision: &Decision, before: &Service) -> Result<Option<Service>> {
        let ingress: Vec<_> = decision.ips().map(|ip| json!({"ip": ip, "ipMode": "VIP"})).collect();
        let ingress = if ingress.is_empty() { json!(null) } else { json!(ingress) };
        // The annotation is written with the status: one request, and no right to write Services themselves.
        let patch = json!({
            "metadata": {"uid": decision.uid, "annotations": {ANNOUNCED_BY: decision.by}},
            "status": {"loadBalancer": {"ingress": ingress}},
        });
        let after = self.patch(&decision.key, &patch).await?;
        if after.is_some() {
            self.reports.change(decision, before).await;
        }
        Ok(after)
    }

    async fn patch(&self, key: &Key, patch: &serde_json::Value) -> Result<Option<Service>> {
        let api: Api<Service> = Api::namespaced(self.client.clone(), &key.namespace);
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let request = api.patch_status(&key.name, &params, &patch);
        let answer = timeout(AGAIN * 10, request).await;
        match answer.map_err(std::io::Error::from).doing(|| format!("write the status of Service {key}"))? {
            Ok(service) => Ok(Some(service)),
            // The Service was deleted, replaced, or changed its type: the watch tells which.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => Ok(None),
            Err(error) => {
                eprintln!("{key}: {error}");
                Err(error.into())
            }
        }
    }

    /// Probes the nodes as long as a Service depends on them.
    fn whom_to_ask(&self) -> Vec<probe::Target> {
        let depends = self.world.services.iter().any(|(_, service)| service.announced_by().is_some());
        let nodes = self.world.nodes.iter().filter(|_| depends);
        nodes.filter_map(|(key, node)| Some((key.name.clone(), node.address()?))).collect()
    }

    /// Returns the ports of Services without an address on which a node already listens.
    async fn listening(&self) -> BTreeSet<u16> {
        let services = self.world.services.iter().map(|(_, service)| service);
        let open = services.filter(|service| ours(&self.settings, service) && service.addresses().next().is_none());
        let ports = open.flat_map(|service| service.spec.ports.iter()).filter(|port| port.protocol == "TCP");
        let ports = ports.map(|port| port.port).collect();
        let nodes: Vec<Addresses> = self.world.nodes.iter().filter_map(|(_, node)| node.address()).collect();
        probe::listening(&nodes, &ports).await
    }

    /// Removes all addresses from Services, as nothing will answer for them.
    async fn withdraw(&self) -> Result<()> {
        println!("the addon is being removed: releasing all addresses");
        let services = self.world.services.iter().map(|(_, service)| service);
        let held = services.filter(|service| ours(&self.settings, service) && service.addresses().next().is_some());
        let (held, decisions): (Vec<_>, Vec<_>) = held.map(|service| (service, nothing(service))).unzip();
        let results = join_all(decisions.iter().zip(held).map(|(decision, service)| self.carry_out(decision, service)));
        results.await.into_iter().find_map(Result::err).map_or(Ok(()), Err)
    }
}
