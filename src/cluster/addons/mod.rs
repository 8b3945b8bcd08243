//! The addons of a cluster: the selection that it should have, what is known of them, and the verbs that change them.

mod change;
mod material;

pub(super) use change::renew_servers;
pub use change::{AddonOptions, configure, disable, enable};
pub use material::addon_images;
pub(super) use material::{facts, helm, material};

use std::collections::BTreeMap;

use serde::Serialize;

use super::service::{ServiceRow, service};
use crate::addons::{self, Addon, Available, Selected, Value, ValueSchema};
use crate::app::App;
use crate::artifacts::catalog::CATALOG;
use crate::artifacts::{Options, Way};
use crate::config::ClusterSpec;
use crate::error::{Error, Id, Result};
use crate::state::ClusterState;

/// The status of an addon that is enabled in a cluster.
pub(super) const ENABLED: &str = "enabled";

/// A row of `kcl addons list`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AddonRow {
    /// The name of the addon.
    #[serde(skip)]
    pub name: String,
    /// The name of the cluster.
    pub profile: String,
    /// The status of the addon: `enabled` or `disabled`.
    pub status: &'static str,
    /// The version of the addon's software.
    pub version: String,
    /// The purpose of the addon, in a few words.
    pub title: String,
    /// The origin of the addon: `built-in`, or the source of the user's own addon.
    pub origin: String,
    /// The addons that this one needs.
    pub needs: Vec<String>,
}

/// The details of one addon.
pub struct AddonInfo {
    /// The addon itself.
    pub addon: Addon,
    /// The addon is enabled in the cluster.
    pub enabled: bool,
    /// The values of the addon by name, each with its schema.
    pub values: BTreeMap<String, (Value, ValueSchema)>,
    /// The references of the addon's images.
    pub images: Vec<String>,
}

/// The addons that a cluster should have, chosen once for a start or a change.
pub(super) struct Choice {
    available: Available,
    /// The chosen addons, each after those that it needs.
    pub selected: Vec<Selected>,
}

impl Choice {
    /// Reads the user's own addons that `spec` names, pulls those in registries, and validates the user's configuration
    /// of addons. Values of the `earlier` configuration that are not valid (any more) are dropped with a warning, as they
    /// are no reason to refuse a cluster that exists.
    pub(super) async fn make(app: &App, spec: &mut ClusterSpec, earlier: Option<&ClusterSpec>) -> Result<Choice> {
        let available = Available::with_sources(&app.addon_copies(&spec.name), &spec.addons).await?;
        for (name, config) in &mut spec.addons {
            if earlier.and_then(|earlier| earlier.addons.get(name)) == Some(config) {
                available.drop_invalid(name, config).into_iter().for_each(|dropped| app.progress.warn(dropped));
            }
        }
        let selected = available.select(&spec.addons, &spec.kubernetes_version)?;
        Ok(Choice { available, selected })
    }

    /// Copies the user's own addons that were named in this run into the cluster's files.
    pub(super) fn keep(&self, app: &App, cluster: &str) -> Result<()> {
        self.available.keep(&app.addon_copies(cluster))
    }
}

/// Returns all addons with their status in a cluster, which need not exist.
pub fn addons(app: &App, cluster: &str) -> Result<Vec<AddonRow>> {
    let state = app.store.load(cluster)?;
    let available = Available::with_copies(&app.addon_copies(cluster))?;
    let enabled = match state {
        Some(ClusterState { spec, .. }) => available.select(&spec.addons, &spec.kubernetes_version)?,
        None => Vec::new(),
    };
    let row = |addon: &Addon| AddonRow {
        profile: cluster.to_owned(),
        status: if enabled.iter().any(|one| one.addon.name == addon.name) { ENABLED } else { "disabled" },
        version: addon.description.version.clone(),
        title: addon.description.title.clone(),
        needs: addon.description.needs.clone(),
        origin: addon.origin.clone(),
        name: addon.name.clone(),
    };
    Ok(available.iter().map(row).collect())
}

/// Returns the details of one addon.
pub fn info(app: &App, cluster: &str, name: &str) -> Result<AddonInfo> {
    let state = app.store.load(cluster)?;
    let spec = assumed_spec(cluster, state.as_ref())?;
    let available = Available::with_copies(&app.addon_copies(cluster))?;
    let addon = available.find(name)?.clone();
    let selected = available.select(&spec.addons, &spec.kubernetes_version)?;
    let enabled = selected.iter().any(|one| one.addon.name == name);
    let said = spec.addons.get(name).map(|config| config.values.clone()).unwrap_or_default();
    let value = |(name, schema): (&String, &ValueSchema)| {
        let value = said.get(name).unwrap_or(&schema.default).clone();
        (name.clone(), (value, schema.clone()))
    };
    let values = addon.description.values.iter().map(value).collect();
    let images = addon.references()?.into_values().collect();
    Ok(AddonInfo { addon, enabled, values, images })
}

/// Returns the images of an addon, those of its chart included. A chart in a registry is pulled, and kept if the cluster
/// exists.
pub async fn images_of_addon(app: &App, cluster: &str, name: &str) -> Result<Vec<String>> {
    let AddonInfo { addon, values, .. } = info(app, cluster, name)?;
    let state = app.store.load(cluster)?;
    let spec = assumed_spec(cluster, state.as_ref())?;
    let scratch = tempfile::tempdir()
        .map_err(|error| Error::new(Id::FileUnwritable, format!("no directory can be made: {error}")).source(error))?;
    let kept = if state.is_some() { app.store.paths().cluster(cluster) } else { scratch.path().to_owned() };
    let source = addon.description.chart.as_ref().and_then(|chart| chart.source.as_deref());
    let archive = match source {
        Some(source) => Some(addons::kept_chart(&kept, source).await?),
        None => None,
    };
    let values = values.into_iter().map(|(name, (value, _))| (name, value)).collect();
    let selected = Selected { addon, values, asked: true };
    let facts = material::assumed_facts(&spec, state.as_ref());
    let helm = helm(app, &Options::default(), &Way::Auto);
    addons::used_images(&selected, &facts, &helm, archive.as_deref(), &spec.kubernetes_version).await
}

/// Returns the settings of a cluster, or those that it would have if it existed.
fn assumed_spec(cluster: &str, state: Option<&ClusterState>) -> Result<ClusterSpec> {
    let mut spec = state.map_or_else(|| ClusterSpec::with_defaults(cluster), |state| state.spec.clone());
    spec.kubernetes_version = CATALOG.kubernetes_version(&spec.kubernetes_version)?;
    Ok(spec)
}

/// Returns the Service that serves an addon's page.
///
/// # Errors
/// `NotFound` if the addon has no page or is not enabled; otherwise those of [`service`].
pub async fn addon_page(app: &App, cluster: &str, name: &str) -> Result<ServiceRow> {
    app.existing(cluster)?;
    let info = info(app, cluster, name)?;
    if !info.enabled {
        return Err(Error::new(Id::AddonDisabled, format!("the addon {name} is not enabled"))
            .hint(format!("enable it with: kcl addons enable {name}")));
    }
    let Some(page) = info.addon.description.open else {
        return Err(Error::new(Id::AddonWithoutPage, format!("the addon {name} has no page"))
            .hint("see what it made with: kcl dashboard"));
    };
    service(app, cluster, &page.namespace, &page.service, false).await
}
