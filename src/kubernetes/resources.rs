//! The resources that a cluster serves.

use std::collections::BTreeMap;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::discovery::{Discovery, Scope};
use kube::{Api, Client, ResourceExt};

use crate::error::{Error, Id, Result};

/// The resources of a cluster by their kinds.
pub struct Resources {
    served: Discovery,
    /// The resources that were defined since discovery, by API version and kind.
    defined: BTreeMap<(String, String), (ApiResource, Scope)>,
}

impl Resources {
    /// Discovers the resources of a cluster.
    pub async fn discover(client: &Client) -> Result<Self> {
        let served = Discovery::new(client.clone()).run_aggregated().await.map_err(|error| {
            Error::new(Id::ApiFailed, format!("the cluster does not say which APIs it serves: {error}")).source(error)
        })?;
        Ok(Resources { served, defined: BTreeMap::new() })
    }

    /// Adds the resource of a CustomResourceDefinition, which discovery lists later than the API serves it.
    pub fn define(&mut self, definition: &DynamicObject) {
        let spec = &definition.data["spec"];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let (group, names) = (text(&spec["group"]), &spec["names"]);
        let scope = if spec["scope"] == "Cluster" { Scope::Cluster } else { Scope::Namespaced };
        for version in spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default() {
            if version["served"] != true {
                continue;
            }
            let gvk = GroupVersionKind::gvk(&group, &text(&version["name"]), &text(&names["kind"]));
            let resource = ApiResource::from_gvk_with_plural(&gvk, &text(&names["plural"]));
            let key = (resource.api_version.clone(), resource.kind.clone());
            self.defined.insert(key, (resource, scope.clone()));
        }
    }

    /// Returns a resource by its API version and kind.
    pub fn of(&self, api_version: &str, kind: &str) -> Option<(ApiResource, Scope)> {
        if let Some(found) = self.defined.get(&(api_version.to_owned(), kind.to_owned())) {
            return Some(found.clone());
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let (resource, capabilities) = self.served.resolve_gvk(&GroupVersionKind::gvk(group, version, kind))?;
        Some((resource, capabilities.scope))
    }

    /// Returns the resource of the CustomResourceDefinition with a name (`plural.group`), in its best version.
    pub fn of_definition(&self, name: &str) -> Option<(ApiResource, Scope)> {
        let (plural, group) = name.split_once('.')?;
        let resources = self.served.get(group)?.recommended_resources();
        let (resource, capabilities) = resources.into_iter().find(|(resource, _)| resource.plural == plural)?;
        Some((resource, capabilities.scope))
    }
}

/// Returns the API of a resource. A namespaced resource without a namespace is in `default`.
pub fn api_of(client: &Client, resource: &ApiResource, scope: &Scope, namespace: Option<&str>) -> Api<DynamicObject> {
    match scope {
        Scope::Cluster => Api::all_with(client.clone(), resource),
        Scope::Namespaced => Api::namespaced_with(client.clone(), namespace.unwrap_or("default"), resource),
    }
}

/// Returns an object's kind and name, for messages.
pub(super) fn title(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map(|types| types.kind.as_str()).unwrap_or("object");
    format!("{kind} {}", object.name_any())
}
