//! What an addon is: `addon.toml`, checked.

use std::collections::BTreeMap;

use semver::{Version, VersionReq};
use serde::Deserialize;

use super::files::{CHART, DESCRIPTION, Files};
use super::values::ValueSchema;
use crate::artifacts::oci;
use crate::config::oci_reference;
use crate::error::{Error, Family, Result};

/// The label of everything that an addon made: its name.
pub const LABEL: &str = "kcl.dev/addon";

/// An addon.
#[derive(Clone, Debug)]
pub struct Addon {
    /// Its name: the folder's.
    pub name: String,
    /// What it says of itself.
    pub description: Description,
    /// Where it is from: `built-in`, or what the user named.
    pub origin: String,
    /// Templates by file name, in the order of their names.
    pub templates: BTreeMap<String, String>,
    /// The files of its Helm chart by their paths in its folder.
    pub chart: BTreeMap<String, String>,
}

/// `addon.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Description {
    /// What it is for, in a few words.
    pub title: String,
    /// The version of the software.
    pub version: String,
    /// Whether new clusters have it.
    #[serde(default)]
    pub default: bool,
    /// The versions of Kubernetes that it works with.
    #[serde(default)]
    pub kubernetes: VersionReq,
    /// Addons without which it does not work.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Whether it has Services that ask for a port of this host's loopback (`kcl.dev/loopback-port`).
    #[serde(default)]
    pub loopback: bool,
    /// Images: names of the catalog, or references.
    #[serde(default)]
    pub images: Vec<String>,
    /// Manifests that come with an artifact rather than with the folder.
    #[serde(default)]
    pub artifact_manifests: Vec<ArtifactManifest>,
    /// Its Helm chart.
    pub chart: Option<Chart>,
    /// What can be configured, by name.
    #[serde(default)]
    pub values: BTreeMap<String, ValueSchema>,
    /// What is waited for besides its own workloads, API services and definitions.
    #[serde(default)]
    pub ready: Vec<Ready>,
    /// What `addons open` opens.
    pub open: Option<Open>,
}

/// How the Helm chart of an addon is rendered: as a release with the addon's name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chart {
    /// Where a registry has it, `oci://HOST/NAME:VERSION`; none: it is in the folder `chart`.
    pub source: Option<String>,
    /// The release's namespace, which the addon's own templates make.
    pub namespace: String,
}

/// A file of an artifact of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactManifest {
    /// The artifact's name.
    pub artifact: String,
    /// The file in its entry.
    pub path: String,
}

/// An object that has to be ready.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// Its kind.
    pub kind: ReadyKind,
    /// Its namespace, where it has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// A kind of which it can be told whether it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ReadyKind {
    /// All pods of the newest generation are available.
    Deployment,
    /// So on every node that it is for.
    DaemonSet,
    /// All pods are ready.
    StatefulSet,
    /// The aggregation layer reaches it.
    #[serde(rename = "APIService")]
    ApiService,
    /// It is served.
    CustomResourceDefinition,
}

/// A page of an addon.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// The namespace of the service.
    pub namespace: String,
    /// The service.
    pub service: String,
}

impl Addon {
    /// Reads an addon from the texts of its folder's files.
    ///
    /// # Errors
    /// `Usage` for what is no addon: the message names the file and the key.
    pub fn parse(name: &str, origin: &str, files: Files) -> Result<Addon> {
        let place = format!("the addon {name} ({origin})");
        let wrong = |what: String| Error::new(Family::Usage, format!("{place}: {what}"));
        let mut templates = files;
        let text = templates.remove(DESCRIPTION).ok_or_else(|| wrong(format!("it has no {DESCRIPTION}")))?;
        let description: Description =
            toml::from_str(&text).map_err(|error| wrong(format!("{DESCRIPTION}: {}", error.to_string().trim_end())))?;
        for ready in &description.ready {
            let namespaced =
                matches!(ready.kind, ReadyKind::Deployment | ReadyKind::DaemonSet | ReadyKind::StatefulSet);
            if namespaced != ready.namespace.is_some() {
                let right = if namespaced { "needs a namespace" } else { "has no namespace" };
                return Err(wrong(format!("{DESCRIPTION}: ready: {:?} {} {right}", ready.kind, ready.name)));
            }
        }
        for (value, schema) in &description.values {
            schema
                .check(&schema.default)
                .map_err(|problem| wrong(format!("{DESCRIPTION}: the default of values.{value}: {problem}")))?;
        }
        let chart = templates.extract_if(.., |file, _| file.starts_with(CHART));
        let chart: BTreeMap<_, _> = chart.map(|(file, text)| (file[CHART.len()..].to_owned(), text)).collect();
        let of_folder = description.chart.as_ref().is_some_and(|chart| chart.source.is_none());
        if of_folder != chart.contains_key("Chart.yaml") {
            return Err(wrong(format!(
                "{DESCRIPTION}: chart without a source needs a folder {CHART} with a Helm chart, and that needs it"
            )));
        }
        if let Some(source) = description.chart.as_ref().and_then(|chart| chart.source.as_deref()) {
            oci_reference(source).map_err(|error| wrong(format!("{DESCRIPTION}: chart.source: {}", error.message)))?;
        }
        templates.retain(|file, _| file.ends_with(".yaml"));
        if templates.is_empty() && description.artifact_manifests.is_empty() && description.chart.is_none() {
            return Err(wrong("it has no manifests (*.yaml)".to_owned()));
        }
        Ok(Addon { name: name.to_owned(), description, origin: origin.to_owned(), templates, chart })
    }

    /// Whether it works with a version of Kubernetes (`v1.37.0`).
    pub fn works_with(&self, kubernetes: &str) -> bool {
        let version = Version::parse(kubernetes.trim_start_matches('v'));
        version.is_ok_and(|version| self.description.kubernetes.matches(&version))
    }

    /// Its images that are in the catalog, by name.
    pub fn catalog_images(&self) -> Result<Vec<oci::Image>> {
        let known = oci::all()?;
        Ok(known.into_iter().filter(|image| self.description.images.contains(&image.name)).collect())
    }

    /// References of all its images.
    pub fn references(&self) -> Result<BTreeMap<String, String>> {
        let known = self.catalog_images()?;
        let reference = |name: &String| {
            let image = known.iter().find(|image| image.name == *name);
            (name.clone(), image.map_or_else(|| name.clone(), |image| image.reference.clone()))
        };
        Ok(self.description.images.iter().map(reference).collect())
    }
}
