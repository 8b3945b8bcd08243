//! Server-side apply of documents.

use futures::future::try_join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, ResourceExt};

use super::FIELD_MANAGER;
use super::resources::{Resources, api_of, title};
use crate::error::{Error, Family, Result};

/// The number of objects that are applied at once: enough to hide the round trips.
const AT_ONCE: usize = 16;

/// The kind that defines other kinds.
const DEFINITION: &str = "CustomResourceDefinition";

/// Parses the objects of a YAML text. `origin` names it in errors.
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
    let mut resources = Resources::discover(client).await?;
    let (first, rest): (Vec<_>, Vec<_>) = objects.iter().partition(|object| is_base(object));
    apply_all(client, &resources, &first).await?;
    let definitions = first.into_iter().filter(|object| kind(object) == DEFINITION);
    let definitions: Vec<&DynamicObject> = definitions.inspect(|object| resources.define(object)).collect();
    try_join_all(definitions.into_iter().map(|definition| served(client, definition))).await?;
    apply_all(client, &resources, &rest).await
}

async fn apply_all(client: &Client, resources: &Resources, objects: &[&DynamicObject]) -> Result<()> {
    stream::iter(objects.iter().map(|object| apply_one(client, resources, object)))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map(|types| types.kind.as_str()).unwrap_or_default()
}

fn is_base(object: &DynamicObject) -> bool {
    matches!(kind(object), "Namespace" | DEFINITION | "PriorityClass")
}

/// Waits until the API serves the objects of a definition.
async fn served(client: &Client, definition: &DynamicObject) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = definition.name_any();
    await_condition(api, &name, conditions::is_crd_established()).await.map_err(|error| {
        Error::new(Family::Cluster, format!("waiting for {DEFINITION} {name}: {error}")).source(error)
    })?;
    Ok(())
}

async fn apply_one(client: &Client, resources: &Resources, object: &DynamicObject) -> Result<()> {
    let types = object.types.clone().unwrap_or_default();
    let failed = |what: String| Error::new(Family::Cluster, format!("applying {}: {what}", title(object)));
    let Some((resource, scope)) = resources.of(&types.api_version, &types.kind) else {
        return Err(failed(format!("this cluster serves no {} {}", types.api_version, types.kind)));
    };
    let api = api_of(client, &resource, &scope, object.namespace().as_deref());
    api.patch(&object.name_any(), &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(object))
        .await
        .map_err(|error| failed(error.to_string()).source(error))?;
    Ok(())
}
