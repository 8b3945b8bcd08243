//! Applies kcl's own objects beside what others change of them: an object that would be applied as the last time is left
//! alone, and of one that differs the fields of other managers stay.

use futures::stream::{self, StreamExt};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::response::StatusCause;

use super::field_path::{self, Items};
use super::patch::{Failure, is_late, message, refused};
use super::resources::{Resources, api_of, title};
use super::{AT_ONCE, FIELD_MANAGER};
use crate::digest;
use crate::error::{Error, Result};

/// The annotation of an object: the digest of what kcl applied last.
const APPLIED: &str = "kcl.dev/applied";

/// The length of a digest in [`APPLIED`].
const DIGITS: usize = 32;

/// The most rounds in which conflicts of one object come up.
const ROUNDS: usize = 5;

/// The result of one attempt to apply objects.
#[derive(Default)]
pub struct Attempt {
    /// A sentence for each field that stays because somebody else has changed it.
    pub kept: Vec<String>,
    /// The objects that may be applied later, as a webhook does not answer yet, each with the reason.
    pub late: Vec<(DynamicObject, String)>,
    /// The errors of objects that will never be applied as they are.
    pub refused: Vec<Error>,
}

/// Applies the objects that differ from what was applied last. One that cannot be applied keeps no other from it.
///
/// # Errors
/// The API server cannot be asked.
pub async fn apply_beside_others(client: &Client, objects: &[DynamicObject]) -> Result<Attempt> {
    let resources = Resources::discover(client).await?;
    let is_base = |object: &&DynamicObject| object.types.as_ref().is_some_and(|types| types.kind == "Namespace");
    let (first, rest): (Vec<_>, Vec<_>) = objects.iter().partition(is_base);
    let mut attempt = Attempt::default();
    for objects in [first, rest] {
        let known = &resources;
        let tries = objects.into_iter().map(|object| async move { (object, one(client, known, object).await) });
        let tried: Vec<_> = stream::iter(tries.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await;
        for (object, result) in tried {
            match result {
                Ok(kept) => attempt.kept.extend(kept),
                Err(Failure::Late(reason)) => attempt.late.push((object.clone(), reason)),
                Err(Failure::Refused(error)) => attempt.refused.push(error),
            }
        }
    }
    Ok(attempt)
}

async fn one(
    client: &Client,
    resources: &Resources,
    object: &DynamicObject,
) -> std::result::Result<Vec<String>, Failure> {
    let failed = |what: &str| Failure::Refused(refused(&format!("{}: {what}", title(object))));
    let unable = |error: kube::Error| match is_late(&error) {
        true => Failure::Late(format!("{}: {}", title(object), message(&error))),
        false => Failure::Refused(refused(&format!("{}: {}", title(object), message(&error))).source(error)),
    };
    let types = object.types.clone().unwrap_or_default();
    let name = object.metadata.name.clone().unwrap_or_default();
    let (resource, scope) = resources
        .of(&types.api_version, &types.kind)
        .ok_or_else(|| failed(&format!("this cluster serves no {} {}", types.api_version, types.kind)))?;
    let api: Api<DynamicObject> = api_of(client, &resource, &scope, object.metadata.namespace.as_deref());
    let digest = digest_of(object);
    let live = api.get_metadata_opt(&name).await.map_err(unable)?;
    let applied = live.as_ref().and_then(|live| live.metadata.annotations.as_ref()?.get(APPLIED));
    if applied == Some(&digest) {
        return Ok(Vec::new());
    }
    let mut object = object.clone();
    object.metadata.annotations.get_or_insert_default().insert(APPLIED.to_owned(), digest);
    let mut wanted = serde_json::to_value(&object).map_err(|error| failed(&error.to_string()))?;
    let mut kept = Vec::new();
    for _ in 0..ROUNDS {
        let error = match api.patch(&name, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(&wanted)).await {
            Ok(_) => return Ok(kept),
            Err(error) => error,
        };
        let conflicts = match &error {
            kube::Error::Api(status) if status.code == 409 => status.details.iter().flat_map(|it| &it.causes),
            _ => return Err(unable(error)),
        };
        let before = kept.len();
        for conflict in conflicts.filter(|cause| cause.reason == "FieldManagerConflict") {
            if field_path::remove(&mut wanted, &conflict.field, Items::First) {
                kept.push(stays(&object, conflict));
            }
        }
        if kept.len() == before {
            return Err(failed(&message(&error)));
        }
    }
    Err(failed("others keep changing it"))
}

/// Returns the digest of an object as it is applied.
fn digest_of(object: &DynamicObject) -> String {
    let bytes = serde_json::to_vec(object).unwrap_or_default();
    digest::of_bytes(&bytes)[..DIGITS].to_owned()
}

/// Says that a field stays as somebody else set it.
fn stays(object: &DynamicObject, conflict: &StatusCause) -> String {
    let by = conflict.message.split('"').nth(1).unwrap_or("somebody else");
    format!("{}: {} was changed by {by} and stays so", title(object), conflict.field.trim_start_matches('.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
