//! Applies documents. An object that cannot be applied yet, as something that it needs is not there, is tried again.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use futures::future::try_join_all;
use futures::stream::{self, StreamExt};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, ResourceExt};
use tokio::time::Instant;

use super::AT_ONCE;
use super::patch::{Failure, patch};
use super::resources::Resources;
use crate::error::{Error, Id, Result};
use crate::progress::Progress;

/// The kind that defines other kinds.
const DEFINITION: &str = "CustomResourceDefinition";

/// The pauses between two tries, the shortest and the longest. Nothing tells that a webhook answers from now on, or that
/// a controller has made what an object needs.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The patience with objects that cannot be applied yet.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// The receiver of reasons and warnings.
    pub progress: &'a Progress,
    /// The end of the wait.
    pub until: Instant,
}

/// The order within one apply: objects that others need come first. Webhooks come last, as their own pods have to be
/// admitted before.
#[derive(Clone, Copy, PartialEq)]
enum Turn {
    Base,
    Most,
    Webhooks,
}

impl Turn {
    const ALL: [Turn; 3] = [Turn::Base, Turn::Most, Turn::Webhooks];

    fn of(object: &DynamicObject) -> Turn {
        match kind(object) {
            "Namespace" | DEFINITION | "PriorityClass" | "RuntimeClass" => Turn::Base,
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => Turn::Webhooks,
            _ => Turn::Most,
        }
    }
}

/// Applies objects, and shows the API server's warnings. Objects that cannot be applied yet are tried again, and the
/// reason is shown.
///
/// # Errors
/// `Cluster` if the API server refuses objects for good, `Timeout` if the patience ends first. The others are applied all
/// the same.
pub async fn apply(client: &Client, objects: &[DynamicObject], patience: Patience<'_>) -> Result<()> {
    let begun = Instant::now();
    let mut waiting = last_ones(objects);
    let (mut pause, mut step) = (PAUSES.0, None);
    let mut warnings = BTreeSet::new();
    let warn = |text: String| patience.progress.warn(text);
    loop {
        let (mut late, mut refused) = (Vec::new(), Vec::new());
        for (object, result) in round(client, &waiting).await? {
            match result {
                Ok(said) => said.into_iter().filter(|text| warnings.insert(text.clone())).for_each(warn),
                Err(Failure::Late(reason)) => late.push((object, reason)),
                Err(Failure::Refused(error)) => refused.push(error),
            }
        }
        if let Some(error) = together(refused) {
            return Err(error);
        }
        let Some((_, reason)) = late.first() else { break };
        let more = if late.len() > 1 { format!(" (and {} more)", late.len() - 1) } else { String::new() };
        let reason = format!("{reason}{more}");
        if Instant::now() + pause >= patience.until {
            let message = format!("not applied within {} s (--wait-timeout): {reason}", begun.elapsed().as_secs());
            return Err(Error::new(Id::ManifestNotApplied, message));
        }
        let step = step.get_or_insert_with(|| patience.progress.step("objects", "Waiting to apply objects"));
        step.message(reason);
        waiting = late.into_iter().map(|(object, _)| object).collect();
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
    if let Some(step) = step {
        step.finish("Objects applied");
    }
    Ok(())
}

/// Leaves out objects that come again: applied one after the other, the last one would count, and here several are applied
/// at once.
fn last_ones(objects: &[DynamicObject]) -> Vec<&DynamicObject> {
    let mut known = HashSet::new();
    let key = |object: &DynamicObject| (object.types.clone(), object.namespace(), object.name_any());
    let mut last: Vec<&DynamicObject> = objects.iter().rev().filter(|object| known.insert(key(object))).collect();
    last.reverse();
    last
}

/// Makes one error of several.
fn together(mut errors: Vec<Error>) -> Option<Error> {
    const SHOWN: usize = 10;
    let count = errors.len();
    let mut messages: Vec<String> = errors.iter().take(SHOWN).map(|error| error.message.clone()).collect();
    let mut first = (count > 0).then(|| errors.swap_remove(0))?;
    if count > SHOWN {
        messages.push(format!("and {} more", count - SHOWN));
    }
    first.message = messages.join("\n");
    Some(first)
}

/// The result of one try: the warnings, or the reason why the object is not applied.
type Tried<'a> = (&'a DynamicObject, std::result::Result<Vec<String>, Failure>);

/// Tries to apply each object once.
async fn round<'a>(client: &Client, objects: &[&'a DynamicObject]) -> Result<Vec<Tried<'a>>> {
    let mut resources = Resources::discover(client).await?;
    let mut results = Vec::new();
    for turn in Turn::ALL {
        let these = objects.iter().copied().filter(|object| Turn::of(object) == turn);
        let known = &resources;
        let tries = these.map(|object| async move { (object, patch(client, known, object).await) });
        let tried: Vec<Tried> = stream::iter(tries.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await;
        let applied = tried.iter().filter(|(_, result)| result.is_ok()).map(|(object, _)| *object);
        let definitions: Vec<&DynamicObject> = applied.filter(|object| kind(object) == DEFINITION).collect();
        try_join_all(definitions.iter().map(|definition| served(client, definition))).await?;
        definitions.iter().for_each(|definition| resources.define(definition));
        results.extend(tried);
    }
    Ok(results)
}

fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map(|types| types.kind.as_str()).unwrap_or_default()
}

/// Waits until the API serves the objects of a definition.
async fn served(client: &Client, definition: &DynamicObject) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = definition.name_any();
    await_condition(api, &name, conditions::is_crd_established()).await.map_err(|error| {
        Error::new(Id::ApiFailed, format!("waiting for {DEFINITION} {name}: {error}")).source(error)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_several_objects_of_one_name_counts() {
        let text = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\ndata: {x: \"1\"}\n";
        let other = text.replace("name: a", "name: b");
        let texts = [text.to_owned(), other, text.replace("\"1\"", "\"2\"")].join("---\n");
        let objects = crate::kubernetes::documents("a.yaml", texts).unwrap();
        let last = last_ones(&objects);
        assert_eq!(last.iter().map(|object| object.name_any()).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(last[1].data["data"]["x"], "2");
    }

    #[test]
    fn several_errors_are_one() {
        let error = |number: usize| Error::new(Id::ManifestRefused, format!("applying ConfigMap {number}: no"));
        assert!(together(Vec::new()).is_none());
        assert_eq!(together(vec![error(1)]).unwrap().message, "applying ConfigMap 1: no");
        let message = together((0..12).map(error).collect()).unwrap().message;
        assert!(message.starts_with("applying ConfigMap 0: no\napplying ConfigMap 1: no\n"), "{message}");
        assert!(message.ends_with("\nand 2 more"), "{message}");
    }
}
