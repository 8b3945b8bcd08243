//! The explanation of an addon that is not ready, by the pods of its workloads: those of the newest revision only, as
//! older ones are about to go.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{ContainerStatus, Event as Report, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Api, ListParams, LogParams};
use kube::{Client, ResourceExt};

use super::definition::{Addon, Ready, ReadyKind};
use crate::error::{Error, Id};

/// The reasons of waiting containers that never become ready by themselves.
const HOPELESS: [&str; 4] = ["ErrImageNeverPull", "InvalidImageName", "ImagePullBackOff", "CreateContainerError"];

/// The number of crashes after which a container counts as one that never starts.
const CRASHES: i32 = 3;

/// The number of lines of a crashed container's log that are shown.
const LINES: i64 = 5;

/// The revision of a Deployment, and of the ReplicaSet that is its newest.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// The generation of a DaemonSet's template: an annotation of the DaemonSet.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The problem of a pod that is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The problem in words.
    pub text: String,
    /// True if waiting does not help.
    pub lasts: bool,
    /// The container that crashed, whose log says why.
    pub crashed: Option<String>,
}

impl Trouble {
    /// Returns the problem of a pod that is not ready. A crash before `since` does not last, as what the pod needs may
    /// have come since then.
    pub(super) fn of(pod: &Pod, since: Timestamp) -> Option<Self> {
        let status = pod.status.as_ref()?;
        let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
        for container in containers {
            let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
            let Some(waiting) = waiting else { continue };
            let reason = waiting.reason.as_deref().unwrap_or("waits");
            let text = match waiting.message.as_deref() {
                Some(message) => format!("container {}: {reason}: {message}", container.name),
                None => format!("container {}: {reason}", container.name),
            };
            let crashed = reason == "CrashLoopBackOff";
            let again = crashed && container.restart_count >= CRASHES && has_ended_since(container, since);
            return Some(Trouble {
                text,
                lasts: again || HOPELESS.contains(&reason),
                crashed: crashed.then(|| container.name.clone()),
            });
        }
        let conditions = status.conditions.as_deref().unwrap_or_default();
        let wrong = conditions.iter().find(|condition| {
            condition.status != "True" && matches!(condition.type_.as_str(), "PodScheduled" | "Ready")
        })?;
        let text = wrong.message.clone().or_else(|| wrong.reason.clone()).unwrap_or_else(|| "not ready".to_owned());
        Some(Trouble { text: format!("{}: {text}", wrong.type_), lasts: false, crashed: None })
    }
}

fn has_ended_since(container: &ContainerStatus, since: Timestamp) -> bool {
    let ended = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    // Kubernetes tells time in whole seconds.
    let at = ended.and_then(|ended| ended.finished_at.as_ref()).map(|time| time.0.as_second());
    at.is_some_and(|at| at >= since.as_second())
}

/// Returns the namespaces of awaited objects.
pub(super) fn namespaces(awaited: &[Ready]) -> impl Iterator<Item = &str> {
    awaited.iter().filter_map(|ready| ready.namespace.as_deref()).collect::<BTreeSet<_>>().into_iter()
}

/// Explains by the pods of an addon's workloads why it is not ready.
pub(super) async fn why(client: &Client, addon: &Addon, awaited: &[Ready]) -> Error {
    let mut troubles = Vec::new();
    for namespace in namespaces(awaited) {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        for pod in pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
            if let Some(trouble) = Trouble::of(&pod, Timestamp::UNIX_EPOCH)
                && is_current(client, &pod, awaited).await
            {
                troubles.push((pod, trouble));
            }
        }
    }
    failed(client, addon, &troubles).await
}

/// Makes the error for pods that are not ready, with the last event of each and the last lines of a crash.
pub(super) async fn failed(client: &Client, addon: &Addon, troubles: &[(Pod, Trouble)]) -> Error {
    let mut message = format!("the addon {} does not become ready", addon.name);
    let mut look = None;
    for (pod, trouble) in troubles {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        message.push_str(&format!("\n  - pod {namespace}/{name}: {}", trouble.text));
        if let Some(report) = last_warning(client, &namespace, &name).await {
            let reason = report.reason.unwrap_or_default();
            message.push_str(&format!("\n    event {reason}: {}", report.message.unwrap_or_default().trim()));
        }
        let closer = match &trouble.crashed {
            Some(container) => {
                for line in last_lines(client, &namespace, &name, container).await.lines() {
                    message.push_str(&format!("\n    log: {line}"));
                }
                format!("kcl kubectl -- -n {namespace} logs {name} -c {container} --previous")
            }
            None => format!("kcl kubectl -- -n {namespace} describe pod {name}"),
        };
        look.get_or_insert(closer);
    }
    let error = Error::new(Id::AddonFailed, message);
    let error = match look {
        Some(look) => error.hint(format!("look closer with: {look}")),
        None => error,
    };
    error
        .hint(format!("try again with: kcl addons enable {}", addon.name))
        .hint(format!("or remove it with: kcl addons disable {}", addon.name))
}

async fn last_warning(client: &Client, namespace: &str, pod: &str) -> Option<Report> {
    let reports: Api<Report> = Api::namespaced(client.clone(), namespace);
    let of_pod = ListParams::default().fields(&format!("involvedObject.name={pod},type=Warning"));
    let reports = reports.list(&of_pod).await.ok()?.items;
    reports.into_iter().max_by_key(|report| report.last_timestamp.clone().map(|time| time.0))
}

/// Returns the end of the log of a container's last run, or of the one before.
async fn last_lines(client: &Client, namespace: &str, pod: &str, container: &str) -> String {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let log = async |previous| {
        let container = Some(container.to_owned());
        let options = LogParams { container, previous, tail_lines: Some(LINES), ..LogParams::default() };
        pods.logs(pod, &options).await.unwrap_or_default()
    };
    match log(false).await {
        text if text.trim().is_empty() => log(true).await,
        text => text,
    }
}

/// Returns true if a pod belongs to the newest revision of an awaited workload, and is to stay.
pub(super) async fn is_current(client: &Client, pod: &Pod, awaited: &[Ready]) -> bool {
    if pod.metadata.deletion_timestamp.is_some() {
        return false;
    }
    let (Some(owner), Some(namespace)) = (controller(&pod.metadata), pod.namespace()) else { return false };
    let is_awaited = |kind, name: &str| {
        let this = Ready { kind, namespace: Some(namespace.clone()), name: name.to_owned() };
        awaited.contains(&this)
    };
    let labels = pod.labels();
    let current = async {
        Some(match owner.kind.as_str() {
            "ReplicaSet" => {
                let set = Api::<ReplicaSet>::namespaced(client.clone(), &namespace).get(&owner.name).await.ok()?;
                let name = &controller(&set.metadata)?.name;
                let deployment = Api::<Deployment>::namespaced(client.clone(), &namespace).get(name).await.ok()?;
                is_awaited(ReadyKind::Deployment, name)
                    && observed(&deployment.metadata, deployment.status.as_ref()?.observed_generation)
                    && deployment.annotations().get(REVISION) == set.annotations().get(REVISION)
            }
            "StatefulSet" => {
                let set = Api::<StatefulSet>::namespaced(client.clone(), &namespace).get(&owner.name).await.ok()?;
                let status = set.status.as_ref()?;
                is_awaited(ReadyKind::StatefulSet, &owner.name)
                    && observed(&set.metadata, status.observed_generation)
                    && status.update_revision.as_ref() == labels.get("controller-revision-hash")
            }
            "DaemonSet" => {
                let set = Api::<DaemonSet>::namespaced(client.clone(), &namespace).get(&owner.name).await.ok()?;
                is_awaited(ReadyKind::DaemonSet, &owner.name)
                    && observed(&set.metadata, set.status.as_ref()?.observed_generation)
                    && set.annotations().get(TEMPLATE_GENERATION) == labels.get("pod-template-generation")
            }
            _ => false,
        })
    };
    current.await.unwrap_or(false)
}

/// Returns true if a controller has seen the newest generation of its object, and so made the newest revision.
fn observed(metadata: &ObjectMeta, generation: Option<i64>) -> bool {
    generation.unwrap_or(0) >= metadata.generation.unwrap_or(0)
}

fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(reason: &str, restarts: i32, ended: &str) -> Pod {
        let container = json!({
            "name": "web", "image": "i", "imageID": "", "ready": false, "restartCount": restarts,
            "state": {"waiting": {"reason": reason}},
            "lastState": {"terminated": {"exitCode": 1, "finishedAt": ended}},
        });
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [container]}}))
            .expect("a pod")
    }

    #[test]
    fn trouble_that_does_not_pass_is_told_from_what_may() {
        let since: Timestamp = "2026-01-01T00:00:10.5Z".parse().unwrap();
        let now = "2026-01-01T00:00:10Z";
        let lasts = |pod: &Pod| Trouble::of(pod, since).expect("trouble").lasts;
        assert!(lasts(&pod("ErrImageNeverPull", 0, now)) && lasts(&pod("CrashLoopBackOff", 3, now)));
        assert!(!lasts(&pod("ContainerCreating", 0, now)) && !lasts(&pod("CrashLoopBackOff", 1, now)));
        let before = pod("CrashLoopBackOff", 30, "2026-01-01T00:00:09Z");
        assert!(!lasts(&before), "what it needed may be there now");
        assert_eq!(Trouble::of(&before, since).unwrap().crashed.as_deref(), Some("web"));
        let waits = json!({"type": "PodScheduled", "status": "False", "message": "no node fits"});
        let waits = json!({"metadata": {"name": "p"}, "status": {"conditions": [waits]}});
        let waits: Pod = serde_json::from_value(waits).expect("a pod");
        let trouble = Trouble::of(&waits, since).expect("trouble");
        assert_eq!((trouble.text.as_str(), trouble.lasts), ("PodScheduled: no node fits", false));
    }
}
