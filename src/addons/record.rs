//! What a cluster knows of its addons: a ConfigMap for each, with all objects that it made. It is written before they
//! are made, so whatever becomes of the run, they can be found and removed.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Error, Family, Result};
use crate::kubernetes::FIELD_MANAGER;

/// An annotation, `"true"`, of users' data, which is kept when the addon is disabled unless the user says otherwise.
const KEEP: &str = "kcl.dev/keep";

/// The namespace of the records.
pub(super) const NAMESPACE: &str = "kube-system";

/// An object, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectName {
    /// Its API version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace, where the addon says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// It is users' data, and stays unless they say otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

/// How far an addon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its objects are being applied.
    Applying,
    /// They are applied.
    Applied,
    /// Its objects are being removed.
    Removing,
    /// Only users' data is left.
    Kept,
}

/// What is recorded of an addon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The addon.
    pub addon: String,
    /// The version of its software.
    pub version: String,
    /// How far it is.
    pub state: State,
    /// Of its objects as they were applied last.
    pub digest: String,
    /// All objects that are there, or may be.
    pub objects: Vec<ObjectName>,
}

impl ObjectName {
    /// Of an object.
    pub fn of(object: &DynamicObject) -> Self {
        let types = object.types.clone().unwrap_or_default();
        ObjectName {
            api_version: types.api_version,
            kind: types.kind,
            namespace: object.namespace(),
            name: object.name_any(),
            keep: object.annotations().get(KEEP).is_some_and(|keep| keep == "true"),
        }
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

fn maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), NAMESPACE)
}

fn map_name(addon: &str) -> String {
    format!("kcl-addon-{addon}")
}

/// The records of a cluster, by the addons' names.
pub async fn records(client: &Client) -> Result<BTreeMap<String, Record>> {
    let failed = |error: kube::Error| {
        Error::new(Family::Cluster, format!("the records of addons cannot be read: {error}")).source(error)
    };
    let list = maps(client).list(&ListParams::default().labels("kcl.dev/record=addon")).await.map_err(failed)?;
    let mut records = BTreeMap::new();
    for map in list {
        let text = map.data.as_ref().and_then(|data| data.get("record")).map(String::as_str).unwrap_or_default();
        let record: Record = serde_json::from_str(text).map_err(|error| {
            let message = format!("the ConfigMap {NAMESPACE}/{} cannot be read: {error}", map.name_any());
            Error::new(Family::Cluster, message)
                .hint("it says what an addon made; put it back from a copy")
                .source(error)
        })?;
        records.insert(record.addon.clone(), record);
    }
    Ok(records)
}

impl Record {
    /// Writes it.
    pub(super) async fn write(&self, client: &Client) -> Result<()> {
        let name = map_name(&self.addon);
        let text = serde_json::to_string_pretty(self).map_err(|error| {
            Error::new(Family::Internal, format!("the record of an addon cannot be written: {error}"))
        })?;
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "labels": {"kcl.dev/record": "addon", "app.kubernetes.io/managed-by": "kcl"},
            },
            "data": {"record": text},
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        maps(client).patch(&name, &parameters, &Patch::Apply(&map)).await.map_err(|error| {
            let message = format!("the record of the addon {} cannot be written: {error}", self.addon);
            Error::new(Family::Cluster, message).source(error)
        })?;
        Ok(())
    }

    /// Removes it.
    pub(super) async fn remove(&self, client: &Client) -> Result<()> {
        match maps(client).delete(&map_name(&self.addon), &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => {
                let message = format!("the record of the addon {} cannot be removed: {error}", self.addon);
                Err(Error::new(Family::Cluster, message).source(error))
            }
            Ok(_) => Ok(()),
        }
    }
}
