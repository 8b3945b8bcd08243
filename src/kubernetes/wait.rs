//! Waits as watches, each of which ends when its condition is met. They have no time limit; the caller sets one.
//!
//! [`Fresh`] tells a fresh report from a stale one: after `kcl stop` and `kcl start`, etcd still lists every node and
//! pod as ready.

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::TryStreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Service, ServiceAccount};
use kube::api::ListParams;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, reflector::Lookup};
use kube::{Api, Client, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::error::{Error, Id, Result};

/// The annotation of a Service that names the node which answers for its address (`addons/load-balancer`).
const ANNOUNCED_BY: &str = "kcl.dev/announced-by";

/// The reports that count.
#[derive(Clone, Debug, Default)]
pub struct Fresh {
    /// The nodes that this run started. Reports about them and their pods count from `since` on; others at any time.
    pub started: Vec<String>,
    /// The time at which this run began.
    pub since: Timestamp,
}

impl Fresh {
    /// Returns what counts for a run that began at `since`. Kubernetes tells time in whole seconds.
    pub fn new(started: Vec<String>, since: Timestamp) -> Fresh {
        Fresh { started, since: Timestamp::from_second(since.as_second()).unwrap_or(since) }
    }

    /// Returns the time from which reports of a node count.
    fn since(&self, node: &str) -> Option<Timestamp> {
        self.started.iter().any(|started| started == node).then_some(self.since)
    }
}

/// Waits until the kubelet of every one of `names` reports Ready. `seen` gets the number of those that do.
pub async fn nodes_ready(client: &Client, names: &[String], fresh: &Fresh, mut seen: impl FnMut(usize)) -> Result<()> {
    watch_until(Api::<Node>::all(client.clone()), watcher::Config::default(), |nodes| {
        let ready = names
            .iter()
            .filter(|name| nodes.get(*name).is_some_and(|node| node_is_ready(node, fresh.since(name))))
            .count();
        seen(ready);
        ready == names.len()
    })
    .await
}

/// Waits until a pod of CoreDNS is ready.
pub async fn dns_available(client: &Client, fresh: &Fresh) -> Result<()> {
    let pods = watcher::Config::default().labels("k8s-app=kube-dns");
    watch_until(Api::<Pod>::namespaced(client.clone(), "kube-system"), pods, |pods| {
        pods.values().any(|pod| {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
            pod_is_ready(pod, fresh.since(node))
        })
    })
    .await
}

/// Waits until pods can be created in a namespace: admission requires its default service account.
pub async fn default_service_account(client: &Client, namespace: &str) -> Result<()> {
    let name = watcher::Config::default().fields("metadata.name=default");
    watch_until(Api::<ServiceAccount>::namespaced(client.clone(), namespace), name, |found| !found.is_empty()).await
}

/// Returns the UIDs of the pods of a node that are ready; none if they cannot be listed.
pub async fn ready_pods(client: &Client, node: &str) -> Vec<String> {
    let pods: Api<Pod> = Api::all(client.clone());
    let of_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let pods = pods.list(&of_node).await.map(|list| list.items).unwrap_or_default();
    pods.into_iter().filter(|pod| pod_is_ready(pod, None)).filter_map(|pod| pod.metadata.uid).collect()
}

/// Waits until the pods of a node with these UIDs have been ready at or after `since`, have ended, or are gone.
pub async fn pods_ready_again(client: &Client, node: &str, uids: &[String], since: Timestamp) -> Result<()> {
    let of_node = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
    watch_until(Api::<Pod>::all(client.clone()), of_node, |pods| {
        let settled = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            matches!(phase, Some("Succeeded" | "Failed")) || pod_is_ready(pod, Some(since))
        };
        let meant = |pod: &&Pod| pod.metadata.uid.as_ref().is_some_and(|uid| uids.contains(uid));
        pods.values().filter(meant).all(settled)
    })
    .await
}

/// Waits until none of the pods with these UIDs is on a node any more.
pub(super) async fn pods_gone(client: &Client, node: &str, uids: &[String]) -> Result<()> {
    let of_node = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
    watch_until(Api::<Pod>::all(client.clone()), of_node, |pods| {
        !pods.values().any(|pod| pod.metadata.uid.as_ref().is_some_and(|uid| uids.contains(uid)))
    })
    .await
}

/// Waits until a node answers for no Service's address any more.
pub async fn addresses_moved(client: &Client, node: &str) -> Result<()> {
    let balanced = watcher::Config::default().fields("spec.type=LoadBalancer");
    watch_until(Api::<Service>::all(client.clone()), balanced, |services| {
        let announced = |service: &Service| service.annotations().get(ANNOUNCED_BY).map(String::as_str) == Some(node);
        !services.values().any(announced)
    })
    .await
}

/// Returns true if the kubelet reports Ready, and has done so at or after `since`.
pub fn node_is_ready(node: &Node, since: Option<Timestamp>) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| {
        let fresh = |since| condition.last_heartbeat_time.as_ref().is_some_and(|time| time.0 >= since);
        condition.type_ == "Ready" && condition.status == "True" && since.is_none_or(fresh)
    })
}

/// Returns true if all containers are ready and started at or after `since`.
fn pod_is_ready(pod: &Pod, since: Option<Timestamp>) -> bool {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    !containers.is_empty()
        && containers.iter().all(|container| {
            let running = container.state.as_ref().and_then(|state| state.running.as_ref());
            let started = running.and_then(|running| running.started_at.as_ref());
            container.ready && since.is_none_or(|since| started.is_some_and(|time| time.0 >= since))
        })
}

/// Watches until `done` returns true for all objects by name, or by namespace and name.
async fn watch_until<K>(
    api: Api<K>,
    config: watcher::Config,
    mut done: impl FnMut(&BTreeMap<String, K>) -> bool,
) -> Result<()>
where
    K: kube::Resource + Lookup + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut objects = BTreeMap::new();
    let mut events = std::pin::pin!(watcher(api, config.any_semantic()).default_backoff());
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return Err(Error::new(Id::ApiFailed, "the watch ended")),
            // The API server may be starting or restarting; the stream resumes by itself.
            Err(error) => {
                tracing::debug!(%error, "watch");
                continue;
            }
        };
        let settled = match event {
            Event::Init => {
                objects.clear();
                false
            }
            Event::InitApply(object) => {
                insert(&mut objects, object);
                false
            }
            Event::InitDone => true,
            Event::Apply(object) => {
                insert(&mut objects, object);
                true
            }
            Event::Delete(object) => {
                objects.remove(&key(&object));
                true
            }
        };
        if settled && done(&objects) {
            return Ok(());
        }
    }
}

fn insert<K: kube::Resource>(objects: &mut BTreeMap<String, K>, object: K) {
    objects.insert(key(&object), object);
}

/// Returns the name of an object, after its namespace if it has one.
fn key<K: kube::Resource>(object: &K) -> String {
    match kube::ResourceExt::namespace(object) {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(status: &str, heartbeat: &str) -> Node {
        let condition = json!({"type": "Ready", "status": status, "lastHeartbeatTime": heartbeat});
        serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {"conditions": [condition]}})).unwrap()
    }

    #[test]
    fn a_node_is_ready_when_its_kubelet_says_so_in_this_life() {
        let since: Timestamp = "2026-01-01T00:00:10Z".parse().unwrap();
        assert!(node_is_ready(&node("True", "2026-01-01T00:00:05Z"), None));
        assert!(!node_is_ready(&node("True", "2026-01-01T00:00:05Z"), Some(since)));
        assert!(node_is_ready(&node("True", "2026-01-01T00:00:10Z"), Some(since)));
        assert!(!node_is_ready(&node("False", "2026-01-01T00:00:10Z"), None));
    }

    #[test]
    fn objects_of_one_name_in_two_namespaces_are_two() {
        let pod = |namespace: &str| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": "web-0", "namespace": namespace}})).unwrap()
        };
        assert_ne!(key(&pod("a")), key(&pod("b")));
        assert_eq!(key(&node("True", "2026-01-01T00:00:05Z")), "n");
    }

    #[test]
    fn a_pod_without_containers_is_not_ready() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}})).unwrap();
        assert!(!pod_is_ready(&pod, None));
    }
}
