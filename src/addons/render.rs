//! From an addon, its values and facts about the cluster to objects.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kcl_node_spec::Subnets;
use kube::api::DynamicObject;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, context};
use serde::Serialize;
use serde_json::{Value, json};

use super::chart;
use super::definition::{Addon, LABEL};
use super::images;
use super::material::Material;
use super::selection::Selected;
use super::template;
use crate::error::{Error, Id, Result};
use crate::kubernetes;

/// The facts about a cluster that templates can use.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// The name of the cluster.
    pub name: String,
    /// The DNS domain of services.
    pub dns_domain: String,
    /// The node network.
    pub subnet: Subnets,
    /// The network of pods.
    pub pod_cidr: Subnets,
    /// The network of services.
    pub service_cidr: Subnets,
    /// The address of the DNS service.
    pub cluster_dns: String,
    /// Addresses for services of type LoadBalancer, `first-last`; `None` if kcl owns no node network.
    pub load_balancer_pool: Option<String>,
    /// The names of the nodes, the first control plane first.
    pub nodes: Vec<String>,
    /// The variables of the proxy by which images are pulled, by their names; empty without a proxy.
    pub proxy: BTreeMap<String, String>,
    /// The issuer of certificates.
    #[serde(skip)]
    pub certificates: Certificates,
}

/// The certificate and key of a server, in PEM.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// The server's certificate.
    pub cert: String,
    /// The server's key.
    pub key: String,
    /// The authority's certificate.
    pub ca: String,
}

/// An issuer of certificates; it takes the name by which a certificate is kept, and the server's DNS names.
#[derive(Clone)]
pub struct Certificates(pub Arc<Issue>);

/// The function of [`Certificates`].
type Issue = dyn Fn(&str, &[String]) -> Result<Pair> + Send + Sync;

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

/// Renders the objects of an addon, each labeled as the addon's. Those of a chart are Helm's.
///
/// # Errors
/// `Usage` if a template cannot be rendered, or the result is not a manifest.
pub fn objects(selected: &Selected, facts: &Facts, material: &Material) -> Result<Vec<DynamicObject>> {
    let addon = &selected.addon;
    let mut objects = Vec::new();
    for path in material.manifests.get(&addon.name).into_iter().flatten() {
        let content = std::fs::read(path).map_err(|error| {
            Error::new(Id::AddonUnavailable, format!("{} cannot be read: {error}", path.display())).source(error)
        })?;
        objects.extend(kubernetes::documents(&path.display().to_string(), content)?);
    }
    for (file, text) in texts(selected, facts, |file| !is_values(addon, file))? {
        objects.extend(kubernetes::documents(&format!("the addon {}: {file}", addon.name), &text)?);
    }
    let images = images::label(addon)?;
    objects.iter_mut().for_each(|object| mark(object, addon, images.as_ref()));
    Ok(objects)
}

/// Renders the values of an addon's chart.
///
/// # Errors
/// `Usage` if the template cannot be rendered.
pub(super) fn chart_values(selected: &Selected, facts: &Facts) -> Result<String> {
    let values = texts(selected, facts, |file| is_values(&selected.addon, file))?;
    Ok(values.into_iter().map(|(_, text)| text).collect())
}

/// Returns true if a template of an addon is that of its chart's values.
fn is_values(addon: &Addon, file: &str) -> bool {
    addon.description.chart.is_some() && file == chart::VALUES
}

/// Renders the templates of an addon that `wanted` selects by their files.
fn texts(selected: &Selected, facts: &Facts, wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, String)>> {
    let addon = &selected.addon;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("b64", |text: String| STANDARD.encode(text));
    let certificates = facts.certificates.clone();
    environment.add_function("certificate", move |name: String, names: Vec<String>| {
        let pair = (certificates.0)(&name, &names);
        pair.map(Serde).map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.message))
    });
    let values = context! {
        cluster => Serde(facts),
        images => addon.references()?,
        nodes => facts.nodes.clone(),
        values => Serde(&selected.values),
        version => addon.description.version.clone(),
    };
    let mut texts = Vec::new();
    for file in addon.templates.keys().filter(|file| wanted(file)) {
        texts.push((file.clone(), template::render(&environment, addon, file, &values)?));
    }
    Ok(texts)
}

/// Labels an object, and the pods of a workload, as the addon's. Its pods are for nodes that have its images.
fn mark(object: &mut DynamicObject, addon: &Addon, images: Option<&(String, String)>) {
    let labels = object.metadata.labels.get_or_insert_default();
    labels.extend(marks(addon));
    let pods = match object.types.as_ref().map(|types| types.kind.as_str()) {
        Some("Deployment" | "DaemonSet" | "StatefulSet" | "Job") => object.data.pointer_mut("/spec/template"),
        _ => None,
    };
    if let Some(pods) = pods.and_then(Value::as_object_mut) {
        let metadata = pods.entry("metadata").or_insert_with(|| json!({}));
        if metadata.get("labels").is_none_or(Value::is_null) {
            metadata["labels"] = json!({});
        }
        metadata["labels"][LABEL] = addon.name.clone().into();
        if let Some((key, value)) = images {
            pods.entry("spec").or_insert_with(|| json!({}))["nodeSelector"][key] = value.clone().into();
        }
    }
}

/// Returns the labels of everything that belongs to an addon.
pub(super) fn marks(addon: &Addon) -> BTreeMap<String, String> {
    [(LABEL.to_owned(), addon.name.clone()), ("app.kubernetes.io/managed-by".to_owned(), "kcl".to_owned())].into()
}
