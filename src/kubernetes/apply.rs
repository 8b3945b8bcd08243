//! Server-side apply of documents.

use futures::stream::{self, StreamExt, TryStreamExt};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::discovery::{Discovery, Scope};
use kube::{Client, ResourceExt};

use super::FIELD_MANAGER;
use crate::error::{Error, Family, Result};

/// How many objects are applied at once: enough to hide the round trips.
const AT_ONCE: usize = 16;

/// The objects of a YAML text. `origin` names it in errors.
pub fn documents(origin: &str, text: &str) -> Result<Vec<DynamicObject>> {
    let wrong = |what: String| Error::new(Family::Usage, format!("{origin}: {what}"));
    let values: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(text).map_err(|error| wrong(format!("not valid YAML: {error}")))?;
    let mut objects = Vec::new();
    for value in values.into_iter().filter(|value| !value.is_null()) {
        let kind = value.get("kind").and_then(|kind| kind.as_str()).unwrap_or("object").to_owned();
        if kind == "List" {
            let items = value.get("items").cloned().unwrap_or_default();
            let items: Vec<DynamicObject> =
                serde_json::from_value(items).map_err(|error| wrong(format!("in its List: {error}")))?;
            objects.extend(items);
            continue;
        }
        let object: DynamicObject =
            serde_json::from_value(value).map_err(|error| wrong(format!("its {kind} is not an object: {error}")))?;
        if object.types.is_none() || object.metadata.name.is_none() {
            return Err(wrong(format!("its {kind} needs apiVersion, kind and metadata.name")));
        }
        objects.push(object);
    }
    Ok(objects)
}

/// Applies objects: those that others need (namespaces, definitions) first, the rest at once.
pub async fn apply(client: &Client, objects: &[DynamicObject]) -> Result<()> {
    let discovery = Discovery::new(client.clone()).run_aggregated().await.map_err(|error| {
        Error::new(Family::Cluster, format!("the cluster does not say which APIs it serves: {error}")).source(error)
    })?;
    let (first, rest): (Vec<_>, Vec<_>) = objects.iter().partition(|object| is_base(object));
    for group in [first, rest] {
        stream::iter(group.into_iter().map(|object| apply_one(client, &discovery, object)))
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
    }
    Ok(())
}

fn is_base(object: &DynamicObject) -> bool {
    let kind = object.types.as_ref().map(|types| types.kind.as_str());
    matches!(kind, Some("Namespace" | "CustomResourceDefinition" | "PriorityClass"))
}

async fn apply_one(client: &Client, discovery: &Discovery, object: &DynamicObject) -> Result<()> {
    let types = object.types.clone().unwrap_or_default();
    let name = object.name_any();
    let failed = |what: String| Error::new(Family::Cluster, format!("applying {} {name}: {what}", types.kind));
    let Some((resource, capabilities)) = discovery.resolve_object(object) else {
        return Err(failed(format!("this cluster serves no {} {}", types.api_version, types.kind)));
    };
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object.namespace().unwrap_or_else(|| "default".to_owned());
            Api::namespaced_with(client.clone(), &namespace, &resource)
        }
    };
    api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(object))
        .await
        .map_err(|error| failed(error.to_string()).source(error))?;
    Ok(())
}
