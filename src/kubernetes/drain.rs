//! Empties nodes as `kubectl drain` does: pods are evicted by the Eviction API, which keeps PodDisruptionBudgets.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use kube::core::response::{Status, StatusCause};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::wait::pods_gone;
use crate::error::{Error, Id, Result};

/// The annotation of pods that a kubelet has from a file and not from the API (`kubernetes.io/config.mirror`).
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The time between two requests for an eviction that a budget does not allow yet. The API has nothing to watch for that.
const AGAIN: Duration = Duration::from_secs(1);

/// The way in which a node is emptied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Pods that nothing recreates are evicted too.
    pub force: bool,
    /// The time that pods get to end; without it their own.
    pub grace_period: Option<Duration>,
    /// The longest time to wait for pods to end.
    pub timeout: Duration,
}

/// Evicts all pods of a node but those of DaemonSets, and waits until they are gone.
///
/// # Errors
/// `Cluster` for pods that nothing recreates, without `force`; `Timeout` with the pods that are left and the reasons.
pub async fn drain(client: &Client, node: &str, drain: &Drain) -> Result<()> {
    let pods: Vec<Pod> = pods_of(client, node).await?.into_iter().filter(leaves).collect();
    recreated(node, &pods, drain.force)?;
    let refusals = Mutex::default();
    let work = async {
        try_join_all(pods.iter().map(|pod| evict(client, pod, drain, &refusals))).await?;
        let uids: Vec<String> = pods.iter().filter_map(ResourceExt::uid).collect();
        pods_gone(client, node, &uids).await
    };
    match timeout(drain.timeout, work).await {
        Ok(result) => result,
        Err(_) => Err(late(client, node, &pods, drain, refusals).await),
    }
}

/// Deletes the pods of a node that does not run, so that others take their places at once.
///
/// # Errors
/// `Cluster` for pods that nothing recreates, without `force`.
pub async fn discard_pods(client: &Client, node: &str, force: bool) -> Result<()> {
    let pods = pods_of(client, node).await?;
    recreated(node, &pods, force)?;
    let at_once = &DeleteParams::default().grace_period(0);
    try_join_all(pods.iter().map(|pod| async move {
        let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        let precondition = Preconditions { uid: pod.uid(), ..Preconditions::default() };
        match api.delete(&pod.name_any(), &at_once.clone().preconditions(precondition)).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => {
                Err(Error::new(Id::ApiFailed, format!("the pod {} cannot be deleted: {error}", title(pod)))
                    .source(error))
            }
            Ok(_) => Ok(()),
        }
    }))
    .await
    .map(drop)
}

/// Refuses to lose pods that nothing recreates, without `force`.
fn recreated(node: &str, pods: &[Pod], force: bool) -> Result<()> {
    let lonely: Vec<String> = pods.iter().filter(|pod| !is_recreated(pod)).map(title).collect();
    if force || lonely.is_empty() {
        return Ok(());
    }
    let message = format!("nothing recreates these pods of {node}: {}", lonely.join(", "));
    Err(Error::new(Id::NodeOccupied, message).hint("to lose them, add --force"))
}

async fn pods_of(client: &Client, node: &str) -> Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::all(client.clone());
    let of_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
    pods.list(&of_node).await.map(|list| list.items).map_err(|error| {
        Error::new(Id::ApiFailed, format!("the pods of {node} cannot be listed: {error}")).source(error)
    })
}

/// Returns true if a pod has to leave its node. A DaemonSet's would be recreated there at once.
fn leaves(pod: &Pod) -> bool {
    let of_daemon_set = controller(pod) == Some("DaemonSet");
    !pod.annotations().contains_key(MIRROR) && (!of_daemon_set || has_ended(pod))
}

/// Returns true if a pod is recreated elsewhere, or has ended anyway.
fn is_recreated(pod: &Pod) -> bool {
    controller(pod).is_some() || has_ended(pod)
}

/// Returns the kind of object that recreates a pod.
fn controller(pod: &Pod) -> Option<&str> {
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
    owner.map(|owner| owner.kind.as_str())
}

fn has_ended(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

fn title(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

/// Requests the eviction of a pod until it is granted.
async fn evict(client: &Client, pod: &Pod, drain: &Drain, refusals: &Mutex<BTreeMap<String, String>>) -> Result<()> {
    if pod.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let eviction = eviction(pod, drain);
    loop {
        let answer: kube::Result<Status> =
            api.create_subresource("eviction", &name, &PostParams::default(), &eviction).await;
        let status = match answer {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) => status,
            Err(error) => return Err(refused(pod, &error.to_string()).source(error)),
        };
        match status.code {
            // It is gone, or another one has its name.
            404 | 409 => return Ok(()),
            // Its namespace is being deleted, and so is the pod.
            403 if causes(&status).any(|cause| cause.reason == "NamespaceTerminating") => return Ok(()),
            429 => {
                let reasons: Vec<&str> = causes(&status).map(|cause| cause.message.as_str()).collect();
                let reason = if reasons.is_empty() { status.message.clone() } else { reasons.join("; ") };
                // A panic elsewhere does not make the reasons wrong.
                refusals.lock().unwrap_or_else(PoisonError::into_inner).insert(title(pod), reason);
                sleep(AGAIN).await;
            }
            _ => return Err(refused(pod, &status.message)),
        }
    }
}

/// Returns the eviction of exactly this pod. That of the crate `kube` has another name for the options, which the API
/// server ignores.
fn eviction(pod: &Pod, drain: &Drain) -> Value {
    let mut options = json!({"preconditions": {"uid": pod.uid()}});
    if let Some(period) = drain.grace_period {
        options["gracePeriodSeconds"] = period.as_secs().into();
    }
    json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name_any(), "namespace": pod.namespace()},
        "deleteOptions": options,
    })
}

fn causes(status: &Status) -> impl Iterator<Item = &StatusCause> {
    status.details.iter().flat_map(|details| &details.causes)
}

fn refused(pod: &Pod, why: &str) -> Error {
    Error::new(Id::NodeOccupied, format!("the pod {} cannot be evicted: {why}", title(pod)))
}

/// Makes the error for a node that is not empty in time.
async fn late(
    client: &Client,
    node: &str,
    pods: &[Pod],
    drain: &Drain,
    refusals: Mutex<BTreeMap<String, String>>,
) -> Error {
    let refusals = refusals.into_inner().unwrap_or_else(PoisonError::into_inner);
    let there = pods_of(client, node).await.unwrap_or_default();
    let now = |pod: &Pod| there.iter().find(|other| other.uid() == pod.uid());
    let held = |pod: &Pod| now(pod).is_some_and(|pod| pod.metadata.deletion_timestamp.is_none());
    // The client itself tries again what a budget refuses, so such a pod may have no refusal: it was never deleted.
    let reason = |pod: &Pod| match refusals.get(&title(pod)) {
        Some(reason) => reason.clone(),
        None => "its disruption budget allows no eviction".to_owned(),
    };
    let left = pods.iter().filter(|pod| now(pod).is_some()).map(|pod| match held(pod) {
        true => format!("{} ({})", title(pod), reason(pod)),
        false => title(pod),
    });
    let left: Vec<String> = left.collect();
    let seconds = drain.timeout.as_secs();
    let error = Error::new(Id::NodeNotEmptied, format!("{node} is not empty after {seconds} s: {}", left.join(", ")));
    match pods.iter().any(held) {
        false => error.hint("wait longer with --timeout, or shorten the time that pods get to end with --grace-period"),
        true => error.hint("look at the budgets with: kcl kubectl -- get poddisruptionbudgets -A"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(owner: Option<&str>, phase: &str, annotations: Value) -> Pod {
        let owners =
            owner.map(|kind| json!({"apiVersion": "v1", "kind": kind, "name": "o", "uid": "u", "controller": true}));
        serde_json::from_value(json!({
            "metadata": {
                "name": "p", "namespace": "n", "uid": "1", "annotations": annotations,
                "ownerReferences": owners.into_iter().collect::<Vec<_>>(),
            },
            "status": {"phase": phase},
        }))
        .expect("a pod")
    }

    #[test]
    fn pods_leave_as_kubectl_has_it() {
        for (owner, phase, leaves_node, recreated) in [
            (Some("ReplicaSet"), "Running", true, true),
            (Some("DaemonSet"), "Running", false, true),
            (Some("DaemonSet"), "Failed", true, true),
            (None, "Running", true, false),
            (None, "Succeeded", true, true),
        ] {
            let pod = pod(owner, phase, json!({}));
            assert_eq!((leaves(&pod), is_recreated(&pod)), (leaves_node, recreated), "{owner:?} {phase}");
        }
        assert!(!leaves(&pod(None, "Running", json!({MIRROR: "x"}))));
    }

    #[test]
    fn an_eviction_is_of_one_pod_and_has_its_grace_period() {
        let drain = Drain { force: false, grace_period: None, timeout: Duration::from_secs(1) };
        let pod = pod(None, "Running", json!({}));
        assert_eq!(eviction(&pod, &drain)["deleteOptions"], json!({"preconditions": {"uid": "1"}}));
        let drain = Drain { grace_period: Some(Duration::from_secs(3)), ..drain };
        assert_eq!(eviction(&pod, &drain)["deleteOptions"]["gracePeriodSeconds"], 3);
    }
}
