//! Applies the objects of an addon, and removes those that only its earlier version had. All are recorded first.

use kube::Client;
use kube::api::DynamicObject;

use super::record::{ObjectName, Record, State};
use super::remove::remove_objects;
use super::selection::Selected;
use crate::digest;
use crate::error::{Error, Id, Result};
use crate::kubernetes::{self, Patience};

/// Applies the objects of an addon, whose record is `before`. With `always`, it does so even if nothing has changed since,
/// as objects may have been changed by hand.
pub(super) async fn apply(
    client: &Client,
    selected: &Selected,
    objects: &[DynamicObject],
    before: Option<&Record>,
    always: bool,
    patience: Patience<'_>,
) -> Result<()> {
    let digest = digest_of(objects)?;
    let same = before.is_some_and(|record| record.state == State::Applied && record.digest == digest);
    if same && !always {
        return Ok(());
    }
    let own: Vec<ObjectName> = objects.iter().map(ObjectName::of).collect();
    let earlier = before.map(|record| record.objects.as_slice()).unwrap_or_default();
    let gone: Vec<ObjectName> = earlier.iter().filter(|name| !has(&own, name)).cloned().collect();
    let mut record = Record {
        addon: selected.addon.name.clone(),
        version: selected.addon.description.version.clone(),
        state: State::Applying,
        digest,
        objects: own.iter().chain(&gone).cloned().collect(),
        release: before.and_then(|record| record.release.clone()),
    };
    if !same {
        record.write(client).await?;
    }
    kubernetes::apply(client, objects, patience).await?;
    let gone: Vec<ObjectName> = gone.into_iter().filter(|name| !name.keep).collect();
    remove_objects(client, &gone).await?;
    record.objects.retain(|name| !gone.contains(name));
    record.state = State::Applied;
    if !same {
        record.write(client).await?;
    }
    Ok(())
}

/// Returns true if `names` has an object, in any version of its API.
fn has(names: &[ObjectName], name: &ObjectName) -> bool {
    let same = |other: &&ObjectName| {
        (&other.kind, &other.namespace, &other.name) == (&name.kind, &name.namespace, &name.name)
            && group(&other.api_version) == group(&name.api_version)
    };
    names.iter().any(|other| same(&other))
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Returns the digest of an addon's objects.
pub(super) fn digest_of(objects: &[DynamicObject]) -> Result<String> {
    let bytes = serde_json::to_vec(objects)
        .map_err(|error| Error::new(Id::Internal, format!("objects of an addon cannot be written: {error}")))?;
    Ok(digest::of_bytes(&bytes))
}
