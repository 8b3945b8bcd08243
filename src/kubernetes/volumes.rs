//! Volumes whose data is on one node alone.

use std::collections::BTreeMap;
use std::fmt;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume, PersistentVolumeClaim,
};
use kube::api::{Api, DeleteParams, ListParams, Preconditions};
use kube::runtime::wait::{await_condition, conditions::is_deleted};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::error::{Error, Id, Result};

/// A PersistentVolume that only one node can mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The name of the PersistentVolume.
    pub name: String,
    uid: String,
    /// The namespace, the name and the UID of its claim.
    claim: Option<(String, String, String)>,
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.claim {
            Some((namespace, name, _)) => write!(f, "{} (claimed by {namespace}/{name})", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Returns the volumes that a node can mount and no other.
pub async fn volumes_only_on(client: &Client, node: &str) -> Result<Vec<Volume>> {
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes =
        nodes.list(&ListParams::default()).await.map_err(|error| failed("the nodes cannot be listed", error))?;
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let volumes = volumes.list(&ListParams::default()).await;
    let volumes = volumes.map_err(|error| failed("the PersistentVolumes cannot be listed", error))?;
    Ok(volumes.iter().filter(|volume| is_only_on(volume, node, &nodes.items)).map(volume).collect())
}

fn volume(volume: &PersistentVolume) -> Volume {
    let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Volume {
        name: volume.name_any(),
        uid: volume.uid().unwrap_or_default(),
        claim: claim.map(|claim| (text(&claim.namespace), text(&claim.name), text(&claim.uid))),
    }
}

/// Returns true if the affinity of a volume fits a node and no other.
fn is_only_on(volume: &PersistentVolume, node: &str, nodes: &[Node]) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    let Some(selector) = affinity else { return false };
    let mut fitting = nodes.iter().filter(|node| selects(selector, node)).map(ResourceExt::name_any);
    fitting.next().as_deref() == Some(node) && fitting.next().is_none()
}

/// Returns true if a selector selects a node: by any of its terms.
fn selects(selector: &NodeSelector, node: &Node) -> bool {
    let fields = BTreeMap::from([("metadata.name".to_owned(), node.name_any())]);
    let fits = |wanted: &Option<Vec<NodeSelectorRequirement>>, values: &BTreeMap<String, String>| {
        wanted.iter().flatten().all(|requirement| is_met(requirement, values.get(&requirement.key)))
    };
    let term = |term: &NodeSelectorTerm| {
        let is_empty = term.match_expressions.iter().chain(&term.match_fields).flatten().next().is_none();
        !is_empty && fits(&term.match_expressions, node.labels()) && fits(&term.match_fields, &fields)
    };
    selector.node_selector_terms.iter().any(term)
}

/// Returns true if a value meets a requirement (`NodeSelectorOperator` in Kubernetes).
fn is_met(requirement: &NodeSelectorRequirement, value: Option<&String>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let is_listed = value.is_some_and(|value| values.contains(value));
    let compared = || {
        let (value, limit) = (value?.parse::<i64>().ok()?, values.first()?.parse().ok()?);
        Some(value.cmp(&limit))
    };
    match requirement.operator.as_str() {
        "In" => is_listed,
        "NotIn" => !is_listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared().is_some_and(std::cmp::Ordering::is_gt),
        "Lt" => compared().is_some_and(std::cmp::Ordering::is_lt),
        _ => false,
    }
}

/// Deletes volumes with their claims, so that what needs them gets new ones, and waits until they are gone.
pub async fn delete_volumes(client: &Client, volumes: &[Volume]) -> Result<()> {
    try_join_all(volumes.iter().map(|volume| async move {
        if let Some((namespace, name, uid)) = &volume.claim {
            delete::<PersistentVolumeClaim>(Api::namespaced(client.clone(), namespace), name, uid).await?;
        }
        delete::<PersistentVolume>(Api::all(client.clone()), &volume.name, &volume.uid).await
    }))
    .await
    .map(drop)
}

/// Deletes exactly the object with this UID, and waits until it is gone.
async fn delete<K>(api: Api<K>, name: &str, uid: &str) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let what = format!("the {} {name} cannot be deleted", K::kind(&()));
    let preconditions = Some(Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() });
    match api.delete(name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        // It is gone, or another one has its name.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(failed(&what, error)),
        Ok(_) => match await_condition(api, name, is_deleted(uid)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::new(Id::ApiFailed, format!("{what}: {error}"))),
        },
    }
}

fn failed(what: &str, error: kube::Error) -> Error {
    Error::new(Id::ApiFailed, format!("{what}: {error}")).source(error)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, labels: Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).expect("a node")
    }

    fn pinned(terms: Value) -> PersistentVolume {
        let affinity = json!({"required": {"nodeSelectorTerms": terms}});
        let claim = json!({"namespace": "db", "name": "data-0", "uid": "1"});
        let spec = json!({"nodeAffinity": affinity, "claimRef": claim});
        serde_json::from_value(json!({"metadata": {"name": "pv", "uid": "2"}, "spec": spec})).expect("a volume")
    }

    #[test]
    fn a_volume_is_on_a_node_if_its_affinity_leaves_no_other() {
        let nodes = [
            node("a", json!({"kubernetes.io/hostname": "a", "zone": "x", "rank": "1"})),
            node("b", json!({"kubernetes.io/hostname": "b", "zone": "x", "rank": "5"})),
            node("c", json!({"kubernetes.io/hostname": "c", "zone": "y"})),
        ];
        let one =
            |key: &str, operator: &str, values: Value| json!([{"key": key, "operator": operator, "values": values}]);
        let expressions = |requirements: Value| json!([{"matchExpressions": requirements}]);
        for (terms, owner) in [
            (expressions(one("kubernetes.io/hostname", "In", json!(["a"]))), Some("a")),
            (expressions(one("kubernetes.io/hostname", "In", json!(["a", "b"]))), None),
            (expressions(one("zone", "In", json!(["y"]))), Some("c")),
            (expressions(one("zone", "In", json!(["x"]))), None),
            (expressions(one("zone", "NotIn", json!(["x"]))), Some("c")),
            (expressions(one("rank", "DoesNotExist", json!([]))), Some("c")),
            (expressions(one("rank", "Gt", json!(["2"]))), Some("b")),
            (expressions(one("rank", "Lt", json!(["2"]))), Some("a")),
            (json!([{"matchFields": one("metadata.name", "In", json!(["b"]))}]), Some("b")),
            (json!([{}]), None),
        ] {
            let volume = pinned(terms.clone());
            for name in ["a", "b", "c"] {
                assert_eq!(is_only_on(&volume, name, &nodes), owner == Some(name), "{terms} on {name}");
            }
        }
        let anywhere: PersistentVolume = serde_json::from_value(json!({"spec": {}})).expect("a volume");
        assert!(!is_only_on(&anywhere, "a", &nodes));
    }

    #[test]
    fn a_volume_is_shown_with_its_claim() {
        assert_eq!(volume(&pinned(json!([]))).to_string(), "pv (claimed by db/data-0)");
    }
}
