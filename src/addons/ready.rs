//! Readiness of addons: waiting for it by watches.

use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::Value;

use super::definition::{Addon, Ready, ReadyKind};
use super::trouble::{self, Trouble};
use crate::error::{Error, Id, Result};
use crate::kubernetes::{self, Resources};

/// Returns the objects of an addon that have to be ready: its workloads, API services and definitions, and those that its
/// description lists.
pub(super) fn awaited(addon: &Addon, objects: &[DynamicObject]) -> Vec<Ready> {
    let of = |object: &DynamicObject| {
        let kind = match object.types.as_ref()?.kind.as_str() {
            "Deployment" => ReadyKind::Deployment,
            "DaemonSet" => ReadyKind::DaemonSet,
            "StatefulSet" => ReadyKind::StatefulSet,
            "APIService" => ReadyKind::ApiService,
            "CustomResourceDefinition" => ReadyKind::CustomResourceDefinition,
            _ => return None,
        };
        Some(Ready { kind, namespace: object.namespace(), name: object.name_any() })
    };
    let mut all: Vec<Ready> = objects.iter().filter_map(of).collect();
    all.extend(addon.description.ready.iter().filter(|ready| !all.contains(ready)).cloned().collect::<Vec<_>>());
    all
}

/// Waits until all of `awaited` are ready; `say` gets a message for each change.
///
/// # Errors
/// `Cluster` as soon as a pod of the newest revision cannot become ready, with its name, the reason, the last event and
/// the last lines of its log.
pub(super) async fn wait(client: &Client, addon: &Addon, awaited: &[Ready], say: impl Fn(&str) + Sync) -> Result<()> {
    let resources = Resources::discover(client).await?;
    let all = try_join_all(awaited.iter().map(|ready| one(client, &resources, ready, &say)));
    tokio::select! {
        result = all => result.map(|_| ()),
        error = hopeless(client, addon, awaited) => Err(error),
    }
}

async fn one(client: &Client, resources: &Resources, ready: &Ready, say: &(impl Fn(&str) + Sync)) -> Result<()> {
    let (kind, api) = place(client, resources, ready)?;
    let mut objects = std::pin::pin!(watcher::watch_object(api, &ready.name).default_backoff());
    loop {
        match objects.try_next().await {
            Ok(Some(Some(object))) => {
                let (done, state) = look(ready.kind, &object);
                if done {
                    return Ok(());
                }
                say(&format!("{kind} {}: {state}", ready.name));
            }
            Ok(Some(None)) => say(&format!("{kind} {} is not there yet", ready.name)),
            Ok(None) => return Err(Error::new(Id::ApiFailed, format!("the watch of {kind} {} ended", ready.name))),
            Err(error) => tracing::debug!(%error, "watch"),
        }
    }
}

/// Returns the API of the kind of an awaited object.
fn place(client: &Client, resources: &Resources, ready: &Ready) -> Result<(&'static str, Api<DynamicObject>)> {
    let (api_version, kind) = match ready.kind {
        ReadyKind::Deployment => ("apps/v1", "Deployment"),
        ReadyKind::DaemonSet => ("apps/v1", "DaemonSet"),
        ReadyKind::StatefulSet => ("apps/v1", "StatefulSet"),
        ReadyKind::ApiService => ("apiregistration.k8s.io/v1", "APIService"),
        ReadyKind::CustomResourceDefinition => ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    };
    let (resource, scope) = resources
        .of(api_version, kind)
        .ok_or_else(|| Error::new(Id::AddonFailed, format!("the cluster serves no {api_version} {kind}")))?;
    Ok((kind, kubernetes::api_of(client, &resource, &scope, ready.namespace.as_deref())))
}

/// Returns true if all of `awaited` are ready now; an object that cannot be read is not.
pub(super) async fn is_ready(client: &Client, awaited: &[Ready]) -> bool {
    let Ok(resources) = Resources::discover(client).await else { return false };
    for ready in awaited {
        let Ok((_, api)) = place(client, &resources, ready) else { return false };
        match api.get_opt(&ready.name).await {
            Ok(Some(object)) if look(ready.kind, &object).0 => {}
            _ => return false,
        }
    }
    true
}

/// Returns true if an object is ready, and a message about its progress.
fn look(kind: ReadyKind, object: &DynamicObject) -> (bool, String) {
    let status = &object.data["status"];
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let seen = number(&status["observedGeneration"]) >= object.metadata.generation.unwrap_or(0);
    let wanted = || object.data["spec"]["replicas"].as_i64().unwrap_or(1);
    let counted = |wanted: i64, updated: &str, there: &str| {
        let (updated, there) = (number(&status[updated]), number(&status[there]));
        // Pods of an earlier generation may still be there, and answer.
        let old = number(&status["replicas"]) > updated;
        (seen && !old && updated >= wanted && there >= wanted, format!("{} of {wanted} pods", there.min(updated)))
    };
    let condition = |name: &str| {
        let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == name);
        let message = found.and_then(|found| found["message"].as_str()).unwrap_or("not yet").to_owned();
        (found.is_some_and(|found| found["status"] == "True"), message)
    };
    match kind {
        ReadyKind::Deployment => counted(wanted(), "updatedReplicas", "availableReplicas"),
        ReadyKind::StatefulSet => counted(wanted(), "updatedReplicas", "readyReplicas"),
        ReadyKind::DaemonSet => {
            let wanted = number(&status["desiredNumberScheduled"]);
            counted(wanted, "updatedNumberScheduled", "numberAvailable")
        }
        ReadyKind::ApiService => condition("Available"),
        ReadyKind::CustomResourceDefinition => condition("Established"),
    }
}

/// Returns an error when a pod of the newest revision of an awaited workload cannot become ready by itself.
async fn hopeless(client: &Client, addon: &Addon, awaited: &[Ready]) -> Error {
    let since = Timestamp::now();
    let mut changes = stream::select_all(trouble::namespaces(awaited).map(|namespace| {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        watcher(pods, watcher::Config::default()).default_backoff().applied_objects().boxed()
    }));
    loop {
        match changes.try_next().await {
            Ok(Some(pod)) => {
                if let Some(trouble) = Trouble::of(&pod, since)
                    && trouble.lasts
                    && trouble::is_current(client, &pod, awaited).await
                {
                    return trouble::failed(client, addon, &[(pod, trouble)]).await;
                }
            }
            Ok(None) => std::future::pending().await,
            Err(error) => tracing::debug!(%error, "watch"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(status: Value) -> DynamicObject {
        let value = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "generation": 2},
            "spec": {"replicas": 2}, "status": status,
        });
        serde_json::from_value(value).expect("a deployment")
    }

    #[test]
    fn a_deployment_is_ready_once_only_its_newest_pods_are_there() {
        let ready = |status| look(ReadyKind::Deployment, &deployment(status)).0;
        let whole = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        let changed = |key: &str, value: i64| {
            let mut status = whole.clone();
            status[key] = value.into();
            status
        };
        assert!(ready(whole.clone()));
        assert!(!ready(changed("observedGeneration", 1)), "the controller has not seen it yet");
        assert!(!ready(changed("replicas", 3)), "one of an earlier generation is left");
        assert!(!ready(changed("availableReplicas", 1)));
        assert!(!ready(Value::Null));
    }
}
