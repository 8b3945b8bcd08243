//! The records of addons: a ConfigMap for each, with all objects that it created. It is written before they are created, so
//! they can be found and removed even if the run is interrupted.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Error, Id, Result};
use crate::kubernetes::FIELD_MANAGER;

/// An annotation, `"true"`, of users' data, which is kept when the addon is disabled unless the user says otherwise.
const KEEP: &str = "kcl.dev/keep";

/// The namespace of the records.
pub(super) const NAMESPACE: &str = "kube-system";

/// The kind and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectName {
    /// The API version of the object.
    pub api_version: String,
    /// The kind of the object.
    pub kind: String,
    /// The namespace of the object, if the addon names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name of the object.
    pub name: String,
    /// True for users' data, which is kept unless the user says otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

/// The state of an addon in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The objects are being applied.
    Applying,
    /// The objects are applied.
    Applied,
    /// The objects are being removed.
    Removing,
    /// Only users' data remains.
    Kept,
}

/// The record of an addon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The name of the addon.
    pub addon: String,
    /// The version of its software.
    pub version: String,
    /// The state of the addon.
    pub state: State,
    /// The digest of the objects that were applied last.
    pub digest: String,
    /// All objects that exist, or may exist, except those of the release and its definitions.
    pub objects: Vec<ObjectName>,
    /// The Helm release of the addon's chart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseRecord>,
}

/// The Helm release of an addon, which has the addon's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseRecord {
    /// The namespace of the release.
    pub namespace: String,
    /// The digest of all that it was made from; empty while it is being changed.
    pub digest: String,
    /// The definitions of the chart's folder `crds`, which Helm would not remove.
    #[serde(default)]
    pub definitions: Vec<ObjectName>,
    /// True until it has taken over the objects that an older kcl applied.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopts: bool,
}

impl ObjectName {
    /// Returns the name of an object.
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

/// Returns the records of a cluster by the names of the addons.
pub async fn records(client: &Client) -> Result<BTreeMap<String, Record>> {
    let failed = |error: kube::Error| {
        Error::new(Id::ApiFailed, format!("the records of addons cannot be read: {error}")).source(error)
    };
    let list = maps(client).list(&ListParams::default().labels("kcl.dev/record=addon")).await.map_err(failed)?;
    let mut records = BTreeMap::new();
    for map in list {
        let text = map.data.as_ref().and_then(|data| data.get("record")).map(String::as_str).unwrap_or_default();
        let record: Record = serde_json::from_str(text).map_err(|error| {
            let message = format!("the ConfigMap {NAMESPACE}/{} cannot be read: {error}", map.name_any());
            Error::new(Id::AddonFailed, message)
                .hint("it lists what an addon created; restore it from a copy")
                .source(error)
        })?;
        records.insert(record.addon.clone(), record);
    }
    Ok(records)
}

impl Record {
    /// Writes the record.
    pub(super) async fn write(&self, client: &Client) -> Result<()> {
        let name = map_name(&self.addon);
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::new(Id::Internal, format!("the record of an addon cannot be written: {error}")))?;
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
            Error::new(Id::ApiFailed, message).source(error)
        })?;
        Ok(())
    }

    /// Removes the record.
    pub(super) async fn remove(&self, client: &Client) -> Result<()> {
        match maps(client).delete(&map_name(&self.addon), &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => {
                let message = format!("the record of the addon {} cannot be removed: {error}", self.addon);
                Err(Error::new(Id::ApiFailed, message).source(error))
            }
            Ok(_) => Ok(()),
        }
    }
}
