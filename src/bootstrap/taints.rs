//! Taints of nodes. The kubelet sets them as it registers its node; those of a Node object that exists are set here.
//!
//! The API keeps a node's taints as one list, of which Kubernetes itself writes a part, so it is read, changed and
//! written. An annotation has those that kcl set last: only a change of the wish changes the list, and what users change
//! with `kubectl taint` stays.

use k8s_openapi::api::core::v1::Node;
use kcl_node_spec::Taint;
use kube::api::{ObjectList, PartialObjectMeta};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::error::Result;
use crate::kubernetes;
use crate::state::ClusterState;

/// The annotation of a Node: the taints that kcl set last, with commas.
const TAINTS: &str = "kcl.dev/taints";

/// Sets the taints of nodes that have others than the user wants.
pub(super) async fn apply(
    state: &ClusterState,
    client: &Client,
    nodes: &ObjectList<PartialObjectMeta<Node>>,
) -> Result<()> {
    for config in &state.spec.nodes {
        let Some(node) = nodes.iter().find(|node| node.name_any() == config.name) else { continue };
        let before = node.annotations().get(TAINTS).map(String::as_str).unwrap_or_default();
        if before != text(&config.taints) {
            set(client, &config.name, &config.taints).await?;
        }
    }
    Ok(())
}

async fn set(client: &Client, name: &str, wanted: &[Taint]) -> Result<()> {
    let annotation = Some(text(wanted)).filter(|text| !text.is_empty());
    let patch = |node: &Node| {
        let before = node.annotations().get(TAINTS).cloned().unwrap_or_default();
        let taints = node.spec.as_ref().and_then(|spec| serde_json::to_value(&spec.taints).ok());
        let taints = taints.and_then(|taints| taints.as_array().cloned()).unwrap_or_default();
        json!({
            "metadata": {"annotations": {TAINTS: annotation}},
            "spec": {"taints": changed(&taints, &before, wanted)},
        })
    };
    kubernetes::change_node(client, name, patch).await.map(drop)
}

fn text(taints: &[Taint]) -> String {
    taints.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Returns the taints of a node in which those of `before` have given way to those that are `wanted`.
fn changed(taints: &[Value], before: &str, wanted: &[Taint]) -> Vec<Value> {
    let before: Vec<Taint> = before.split(',').filter_map(|text| text.parse().ok()).collect();
    let is =
        |value: &Value, taint: &Taint| value["key"] == taint.key.as_str() && value["effect"] == taint.effect.name();
    let stays = |value: &&Value| !before.iter().chain(wanted).any(|taint| is(value, taint));
    let new = wanted.iter().map(|taint| json!({"key": taint.key, "value": taint.value, "effect": taint.effect.name()}));
    taints.iter().filter(stays).cloned().chain(new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taints(texts: &[&str]) -> Vec<Taint> {
        texts.iter().map(|text| text.parse().expect("a taint")).collect()
    }

    #[test]
    fn only_taints_of_the_users_wish_change() {
        let own = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
        let users = json!({"key": "mine", "value": "x", "effect": "NoExecute"});
        let gpu = |value: &str| json!({"key": "gpu", "value": value, "effect": "NoSchedule"});
        let before = [own.clone(), users.clone(), gpu("a")];
        let wanted = taints(&["gpu=b:NoSchedule"]);
        assert_eq!(changed(&before, "gpu=a:NoSchedule", &wanted), [own.clone(), users.clone(), gpu("b")]);
        assert_eq!(changed(&before, "", &wanted), [own.clone(), users.clone(), gpu("b")], "the kubelet has set it");
        assert_eq!(changed(&before, "gpu=a:NoSchedule", &[]), [own, users]);
    }
}
