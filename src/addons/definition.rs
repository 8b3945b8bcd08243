//! [`Addon`]: the description and the files of an addon.

use std::collections::BTreeMap;

use semver::{Version, VersionReq};
use serde::Deserialize;

use super::files::{CHART, DESCRIPTION, Files, is_manifest};
use super::values::ValueSchema;
use crate::addon_config::oci_reference;
use crate::artifacts::oci;
use crate::error::{Error, Id, Result};
use crate::kubernetes::EXTENSIONS;

/// The label of everything that an addon made: its name.
pub const LABEL: &str = "kcl.dev/addon";

/// An addon: its description and its files.
#[derive(Clone, Debug)]
pub struct Addon {
    /// The name, which is that of the folder.
    pub name: String,
    /// The content of `addon.toml`.
    pub description: Description,
    /// The origin: `built-in`, or the path or reference that the user gave.
    pub origin: String,
    /// Templates by file name, in the order of their names.
    pub templates: BTreeMap<String, String>,
    /// The files of the Helm chart, by their paths in its folder.
    pub chart: BTreeMap<String, Vec<u8>>,
}

/// The content of `addon.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Description {
    /// A short description.
    pub title: String,
    /// The version of the software.
    pub version: String,
    /// Enables the addon in new clusters.
    #[serde(default)]
    pub default: bool,
    /// The versions of Kubernetes that the addon supports.
    #[serde(default)]
    pub kubernetes: VersionReq,
    /// The addons that this one needs.
    #[serde(default)]
    pub needs: Vec<String>,
    /// True if Services of the addon ask for a port of this host's loopback (`kcl.dev/loopback-port`).
    #[serde(default)]
    pub loopback: bool,
    /// The images: names in the catalog, or references.
    #[serde(default)]
    pub images: Vec<String>,
    /// The manifests that are no templates.
    #[serde(default)]
    pub plain: Vec<String>,
    /// Manifests that are in an artifact rather than in the folder.
    #[serde(default)]
    pub artifact_manifests: Vec<ArtifactManifest>,
    /// The Helm chart.
    pub chart: Option<Chart>,
    /// The values that can be configured, by name.
    #[serde(default)]
    pub values: BTreeMap<String, ValueSchema>,
    /// Objects to wait for in addition to the addon's workloads, API services and definitions.
    #[serde(default)]
    pub ready: Vec<Ready>,
    /// The page that `addons open` opens.
    pub open: Option<Open>,
}

/// The Helm chart of an addon, which is rendered as a release with the addon's name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chart {
    /// The reference of the chart, `oci://HOST/NAME:VERSION`; it is in the folder `chart` if this is `None`.
    pub source: Option<String>,
    /// The namespace of the release, which the addon's own templates create.
    pub namespace: String,
}

/// A file of an artifact of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactManifest {
    /// The artifact's name.
    pub artifact: String,
    /// The path of the file in the artifact's entry.
    pub path: String,
}

/// An object that has to be ready.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// The kind of the object.
    pub kind: ReadyKind,
    /// The namespace of the object, if it has one.
    pub namespace: Option<String>,
    /// The name of the object.
    pub name: String,
}

/// A kind whose objects can be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ReadyKind {
    /// Ready when all pods of the newest generation are available.
    Deployment,
    /// Ready when the pods of the newest generation are available on every selected node.
    DaemonSet,
    /// Ready when all pods are ready.
    StatefulSet,
    /// Ready when the aggregation layer reaches it.
    #[serde(rename = "APIService")]
    ApiService,
    /// Ready when the API server serves it.
    CustomResourceDefinition,
}

/// A page of an addon.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// The namespace of the service.
    pub namespace: String,
    /// The name of the service.
    pub service: String,
}

impl Addon {
    /// Parses an addon from the files of its folder.
    ///
    /// # Errors
    /// `Usage` if the files are not a valid addon; the message names the file and the key.
    pub fn parse(name: &str, origin: &str, files: BTreeMap<String, impl Into<Vec<u8>>>) -> Result<Addon> {
        let place = format!("the addon {name} ({origin})");
        let wrong = |what: String| Error::new(Id::AddonInvalid, format!("{place}: {what}"));
        let files = files.into_iter().map(|(file, content)| (file, content.into()));
        let (chart, files): (Files, Files) = files.partition(|(file, _)| file.starts_with(CHART));
        let chart: BTreeMap<_, _> =
            chart.into_iter().map(|(file, content)| (file[CHART.len()..].to_owned(), content)).collect();
        let text = |(file, content): (String, Vec<u8>)| match String::from_utf8(content) {
            Ok(text) => Ok((file, text)),
            Err(error) => Err(wrong(format!("{file} is not text: {error}"))),
        };
        let mut templates: BTreeMap<String, String> = files.into_iter().map(text).collect::<Result<_>>()?;
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
        let of_folder = description.chart.as_ref().is_some_and(|chart| chart.source.is_none());
        if of_folder != chart.contains_key("Chart.yaml") {
            return Err(wrong(format!(
                "{DESCRIPTION}: chart without a source and a folder {CHART} with a Helm chart need each other"
            )));
        }
        if let Some(source) = description.chart.as_ref().and_then(|chart| chart.source.as_deref()) {
            oci_reference(source).map_err(|error| wrong(format!("{DESCRIPTION}: chart.source: {}", error.message)))?;
        }
        templates.retain(|file, _| is_manifest(file));
        if templates.is_empty() && description.artifact_manifests.is_empty() && description.chart.is_none() {
            return Err(wrong(format!("it has no manifests (*.{})", EXTENSIONS.join(", *."))));
        }
        if let Some(file) = description.plain.iter().find(|file| !templates.contains_key(*file)) {
            return Err(wrong(format!("{DESCRIPTION}: plain: \"{file}\" is not a manifest of it")));
        }
        Ok(Addon { name: name.to_owned(), description, origin: origin.to_owned(), templates, chart })
    }

    /// Returns true if the addon supports a version of Kubernetes (`v1.37.0`).
    pub fn works_with(&self, kubernetes: &str) -> bool {
        let version = Version::parse(kubernetes.trim_start_matches('v'));
        version.is_ok_and(|version| self.description.kubernetes.matches(&version))
    }

    /// Returns the images of the addon that are in the catalog.
    pub fn catalog_images(&self) -> Result<Vec<oci::Image>> {
        let known = oci::all()?;
        Ok(known.into_iter().filter(|image| self.description.images.contains(&image.name)).collect())
    }

    /// Returns the references of all images of the addon, by name.
    pub fn references(&self) -> Result<BTreeMap<String, String>> {
        let known = self.catalog_images()?;
        let reference = |name: &String| {
            let image = known.iter().find(|image| image.name == *name);
            (name.clone(), image.map_or_else(|| name.clone(), |image| image.reference.clone()))
        };
        Ok(self.description.images.iter().map(reference).collect())
    }
}
