//! Removes the objects of an addon, in an order in which controllers can still clean up: custom resources first, then
//! workloads, then definitions and namespaces. Each deletion is waited for.

use futures::future::try_join_all;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PropagationPolicy};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, ResourceExt};

use super::record::{ObjectName, Record, State};
use crate::error::{Error, Id, Result};
use crate::kubernetes::{self, Resources};

/// The order of removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// Workloads go before their roles and accounts, so that they can still clean up.
    Workloads,
    Most,
    Definitions,
    Namespaces,
}

impl Turn {
    const ALL: [Turn; 4] = [Turn::Workloads, Turn::Most, Turn::Definitions, Turn::Namespaces];

    fn of(name: &ObjectName) -> Turn {
        match name.kind.as_str() {
            "Deployment" | "DaemonSet" | "StatefulSet" | "Job" => Turn::Workloads,
            "CustomResourceDefinition" => Turn::Definitions,
            "Namespace" => Turn::Namespaces,
            _ => Turn::Most,
        }
    }
}

/// Removes an addon. Without `data`, users' data and its namespaces stay.
pub(super) async fn remove(client: &Client, record: &Record, data: bool) -> Result<()> {
    let kept: Vec<ObjectName> = record.objects.iter().filter(|name| name.keep && !data).cloned().collect();
    let holds = |name: &ObjectName| {
        name.kind == "Namespace" && kept.iter().any(|kept| kept.namespace.as_ref() == Some(&name.name))
    };
    let (stays, goes): (Vec<_>, Vec<_>) =
        record.objects.iter().cloned().partition(|name| kept.contains(name) || holds(name));
    let removing = Record { state: State::Removing, ..record.clone() };
    removing.write(client).await?;
    remove_objects(client, &goes).await?;
    match stays.is_empty() {
        true => record.remove(client).await,
        false => Record { state: State::Kept, objects: stays, digest: String::new(), ..removing }.write(client).await,
    }
}

/// Removes objects, and waits until they and their dependents are gone; missing ones are ignored.
pub(super) async fn remove_objects(client: &Client, names: &[ObjectName]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let resources = Resources::discover(client).await?;
    let definitions = names.iter().filter(|name| Turn::of(name) == Turn::Definitions);
    try_join_all(definitions.map(|name| empty(client, &resources, name))).await?;
    for turn in Turn::ALL {
        let these = names.iter().filter(|name| Turn::of(name) == turn);
        try_join_all(these.map(|name| remove_one(client, &resources, name))).await?;
    }
    Ok(())
}

/// Removes all objects of a custom resource while its controllers still run, which handle finalizers.
async fn empty(client: &Client, resources: &Resources, definition: &ObjectName) -> Result<()> {
    let Some((resource, _)) = resources.of_definition(&definition.name) else { return Ok(()) };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let list = match api.list_metadata(&ListParams::default()).await {
        Ok(list) => list,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        Err(error) => {
            let message = format!("the objects of {} cannot be listed: {error}", definition.name);
            return Err(Error::new(Id::ApiFailed, message).source(error));
        }
    };
    let names = list.items.iter().map(|object| ObjectName {
        api_version: resource.api_version.clone(),
        kind: resource.kind.clone(),
        namespace: object.namespace(),
        name: object.name_any(),
        keep: false,
    });
    let names: Vec<ObjectName> = names.collect();
    try_join_all(names.iter().map(|name| remove_one(client, resources, name))).await?;
    Ok(())
}

async fn remove_one(client: &Client, resources: &Resources, name: &ObjectName) -> Result<()> {
    let Some((resource, scope)) = resources.of(&name.api_version, &name.kind) else {
        // Its kind is gone, and all its objects.
        return Ok(());
    };
    let api = kubernetes::api_of(client, &resource, &scope, name.namespace.as_deref());
    // Foreground: it stays until all that it owns is gone, so waiting for it is waiting for its pods.
    let parameters =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
    let failed =
        |error: &dyn std::fmt::Display| Error::new(Id::AddonFailed, format!("{name} cannot be removed: {error}"));
    let object = match api.get_metadata(&name.name).await {
        Ok(object) => object,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        Err(error) => return Err(failed(&error).source(error)),
    };
    match api.delete(&name.name, &parameters).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        Err(error) => return Err(failed(&error).source(error)),
        Ok(_) => {}
    }
    let uid = object.uid().unwrap_or_default();
    await_condition(api, &name.name, conditions::is_deleted(&uid)).await.map_err(|error| failed(&error))?;
    Ok(())
}
