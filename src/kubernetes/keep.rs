//! Applies kcl's own objects beside what others change of them: an object that would be applied as the last time is left
//! alone, and of one that differs the fields of other managers stay.

use futures::stream::{self, StreamExt, TryStreamExt};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::response::StatusCause;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::FIELD_MANAGER;
use super::resources::{Resources, api_of, title};
use crate::error::{Error, Family, Result};

/// The annotation of an object: the digest of what kcl applied last.
const APPLIED: &str = "kcl.dev/applied";

/// The number of objects that are applied at once.
const AT_ONCE: usize = 16;

/// The most rounds in which conflicts of one object come up.
const ROUNDS: usize = 5;

/// Applies the objects that differ from what was applied last. Returns a sentence for each field that stays because
/// somebody else has changed it.
pub async fn apply_beside_others(client: &Client, objects: &[DynamicObject]) -> Result<Vec<String>> {
    let resources = Resources::discover(client).await?;
    let is_base = |object: &&DynamicObject| object.types.as_ref().is_some_and(|types| types.kind == "Namespace");
    let (first, rest): (Vec<_>, Vec<_>) = objects.iter().partition(is_base);
    let mut kept = Vec::new();
    for objects in [first, rest] {
        let applied = stream::iter(objects.into_iter().map(|object| one(client, &resources, object)));
        let applied: Vec<Vec<String>> = applied.buffer_unordered(AT_ONCE).try_collect().await?;
        kept.extend(applied.concat());
    }
    Ok(kept)
}

async fn one(client: &Client, resources: &Resources, object: &DynamicObject) -> Result<Vec<String>> {
    let failed = |what: String| Error::new(Family::Cluster, format!("applying {}: {what}", title(object)));
    let types = object.types.clone().unwrap_or_default();
    let name = object.metadata.name.clone().unwrap_or_default();
    let (resource, scope) = resources
        .of(&types.api_version, &types.kind)
        .ok_or_else(|| failed(format!("this cluster serves no {} {}", types.api_version, types.kind)))?;
    let api: Api<DynamicObject> = api_of(client, &resource, &scope, object.metadata.namespace.as_deref());
    let digest = digest_of(object);
    let live = api.get_metadata_opt(&name).await.map_err(|error| failed(error.to_string()).source(error))?;
    let applied = live.as_ref().and_then(|live| live.metadata.annotations.as_ref()?.get(APPLIED));
    if applied == Some(&digest) {
        return Ok(Vec::new());
    }
    let mut object = object.clone();
    object.metadata.annotations.get_or_insert_default().insert(APPLIED.to_owned(), digest);
    let mut wanted = serde_json::to_value(&object).map_err(|error| failed(error.to_string()))?;
    let mut kept = Vec::new();
    for _ in 0..ROUNDS {
        let error = match api.patch(&name, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(&wanted)).await {
            Ok(_) => return Ok(kept),
            Err(error) => error,
        };
        let conflicts = match &error {
            kube::Error::Api(status) if status.code == 409 => status.details.iter().flat_map(|it| &it.causes),
            _ => return Err(failed(error.to_string()).source(error)),
        };
        let before = kept.len();
        for conflict in conflicts.filter(|cause| cause.reason == "FieldManagerConflict") {
            if forget(&mut wanted, &conflict.field) {
                kept.push(stays(&object, conflict));
            }
        }
        if kept.len() == before {
            return Err(failed(error.to_string()).source(error));
        }
    }
    Err(failed("others keep changing it".to_owned()))
}

/// Returns the digest of an object as it is applied.
fn digest_of(object: &DynamicObject) -> String {
    let bytes = serde_json::to_vec(object).unwrap_or_default();
    base16ct::lower::encode_string(&Sha256::digest(bytes)[..16])
}

/// Says that a field stays as somebody else set it.
fn stays(object: &DynamicObject, conflict: &StatusCause) -> String {
    let by = conflict.message.split('"').nth(1).unwrap_or("somebody else");
    format!("{}: {} was changed by {by} and stays so", title(object), conflict.field.trim_start_matches('.'))
}

/// Removes the field of a path such as `.spec.containers[name="a"].image`, as conflicts name it
/// (structured-merge-diff, `fieldpath.Path`). Returns false if the value lacks it.
fn forget(value: &mut Value, path: &str) -> bool {
    if let Some(rest) = path.strip_prefix('.') {
        let Some(map) = value.as_object_mut() else { return false };
        // A key may itself have dots, which the path does not quote: the longest one that fits is meant.
        let fits = |key: &&String| {
            rest.strip_prefix(key.as_str()).is_some_and(|after| after.is_empty() || after.starts_with(['.', '[']))
        };
        let Some(key) = map.keys().filter(fits).max_by_key(|key| key.len()).cloned() else { return false };
        return match &rest[key.len()..] {
            "" => map.shift_remove(&key).is_some(),
            after => map.get_mut(&key).is_some_and(|value| forget(value, after)),
        };
    }
    let (Some(list), Some((selector, after))) = (value.as_array_mut(), path.strip_prefix('[').and_then(split_selector))
    else {
        return false;
    };
    let Some(index) = list.iter().position(|item| selects(selector, item)) else { return false };
    match after {
        "" => {
            list.remove(index);
            true
        }
        after => forget(&mut list[index], after),
    }
}

/// Splits `name="a"].image` at the bracket that is not in quotes.
fn split_selector(text: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            ']' if !quoted => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Returns true if a selector `key=VALUE,…` or `=VALUE` selects an item of a list; keys that an item leaves to their
/// defaults are passed over.
fn selects(selector: &str, item: &Value) -> bool {
    selector.split(',').all(|pair| {
        let Some((key, value)) = pair.split_once('=') else { return false };
        let value: Value = serde_json::from_str(value).unwrap_or_default();
        match key {
            "" => *item == value,
            key => item.is_object() && item.get(key).is_none_or(|own| *own == value),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_fields_of_others_are_left_out() {
        let mut object = json!({
            "metadata": {"annotations": {"a.b/c": "1", "a": "2"}, "finalizers": ["x", "y"]},
            "data": {"Corefile": "text"},
            "spec": {
                "replicas": 1,
                "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "tcp", "port": 53}],
                "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}],
            },
        });
        for path in [
            ".data.Corefile",
            ".spec.replicas",
            ".metadata.annotations.a.b/c",
            ".metadata.finalizers[=\"y\"]",
            ".spec.ports[port=53,protocol=\"TCP\"].name",
            ".spec.containers[name=\"b\"].image",
        ] {
            assert!(forget(&mut object, path), "{path}");
            assert!(!forget(&mut object, path), "{path} is gone");
        }
        let left = json!({
            "metadata": {"annotations": {"a": "2"}, "finalizers": ["x"]},
            "data": {},
            "spec": {
                "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}, {"port": 53}],
                "containers": [{"name": "a", "image": "i"}, {"name": "b"}],
            },
        });
        assert_eq!(object, left);
        for path in [".spec.none", ".spec.containers[name=\"c\"].image", ".spec.containers[0", "x"] {
            assert!(!forget(&mut object, path), "{path}");
        }
    }

    #[test]
    fn who_changed_a_field_is_named() {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "coredns"},
        }))
        .unwrap();
        let conflict = StatusCause {
            reason: "FieldManagerConflict".into(),
            message: "conflict with \"kubectl-edit\" using v1".into(),
            field: ".data.Corefile".into(),
        };
        let said = "ConfigMap coredns: data.Corefile was changed by kubectl-edit and stays so";
        assert_eq!(stays(&object, &conflict), said);
    }
}
