//! Changes of single Node objects.

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use crate::error::{Error, Id, Result};

/// The label of nodes that answer for no address of a load balancer (`k8s.io/api/core/v1`, `LabelNodeExcludeBalancers`).
const NOT_BALANCED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The most rounds in which others change the same Node at the same time.
const ROUNDS: usize = 10;

/// Returns a Node; none if it does not exist.
pub async fn node(client: &Client, name: &str) -> Result<Option<Node>> {
    Api::all(client.clone()).get_opt(name).await.map_err(|error| failed(name, "read", error))
}

/// Returns true if no new pods are scheduled on a node.
pub fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false)
}

/// Sets if new pods are scheduled on a node. Returns false if that is so already.
pub async fn cordon(client: &Client, name: &str, cordoned: bool) -> Result<bool> {
    let found = node(client, name).await?.ok_or_else(|| missing(name))?;
    if is_cordoned(&found) == cordoned {
        return Ok(false);
    }
    patch(client, name, &json!({"spec": {"unschedulable": if cordoned { json!(true) } else { Value::Null }}})).await?;
    Ok(true)
}

/// Changes a Node by a merge patch of what it is then, again if others change it at the same time. Returns false if there is
/// no such Node.
pub async fn change(client: &Client, name: &str, patch: impl Fn(&Node) -> Value) -> Result<bool> {
    let nodes: Api<Node> = Api::all(client.clone());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    for _ in 0..ROUNDS {
        let Some(found) = node(client, name).await? else { return Ok(false) };
        let mut patch = patch(&found);
        patch["metadata"]["resourceVersion"] = found.resource_version().into();
        match nodes.patch(name, &params, &Patch::Merge(patch)).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            patched => return patched.map(|_| true).map_err(|error| failed(name, "changed", error)),
        }
    }
    Err(Error::new(Id::ApiFailed, format!("the node {name} cannot be changed: others change it all the time")))
}

/// Takes a node that is to be deleted out of use: no new pods are scheduled on it, and addresses of load balancers move to
/// other nodes.
pub async fn retire(client: &Client, name: &str) -> Result<()> {
    let labels = json!({NOT_BALANCED: ""});
    patch(client, name, &json!({"metadata": {"labels": labels}, "spec": {"unschedulable": true}})).await
}

/// Takes a node that is not deleted after all into use again, unless it is to stay cordoned.
pub async fn reinstate(client: &Client, name: &str, cordoned: bool) -> Result<()> {
    let unschedulable = if cordoned { json!(true) } else { Value::Null };
    let labels = json!({NOT_BALANCED: null});
    patch(client, name, &json!({"metadata": {"labels": labels}, "spec": {"unschedulable": unschedulable}})).await
}

/// Has the API server connect to the kubelet of a node. Its first connection after a change of its own certificate ends all
/// that it has, itself included (`k8s.io/client-go/transport`, `cert_rotation.go`), which else a user's `kubectl logs` would
/// meet.
pub async fn reach_kubelet(client: &Client, name: &str) {
    let Ok(request) = http::Request::get(format!("/api/v1/nodes/{name}/proxy/healthz")).body(Vec::new()) else {
        return;
    };
    // That it fails is what it is for.
    let _ = client.request_text(request).await;
}

async fn patch(client: &Client, name: &str, patch: &Value) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    nodes.patch(name, &params, &Patch::Merge(patch)).await.map(drop).map_err(|error| failed(name, "changed", error))
}

fn missing(name: &str) -> Error {
    Error::new(Id::NodeUnknown, format!("Kubernetes has no node {name}"))
        .hint("see those that it has with: kcl kubectl -- get nodes")
}

fn failed(name: &str, what: &str, error: kube::Error) -> Error {
    Error::new(Id::ApiFailed, format!("the node {name} cannot be {what}: {error}")).source(error)
}
