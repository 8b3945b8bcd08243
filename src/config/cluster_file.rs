//! The cluster file: its keys, and the rules that its types do not hold.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kcl_driver_api::{DriverKind, PublishedPort};
use kcl_driver_ssh::Place;
use kcl_node_spec::{Role, Subnets, Taint};
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

use super::fields::{self, AddonTable, Memory};
use super::labels;
use super::validate::{self, Checked};
use crate::error::{Error, Id, Result};
use crate::text::{suggestion, unknown_word};

/// A cluster file. Keys that it leaves out change nothing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct ClusterFile {
    #[serde(deserialize_with = "fields::cluster_name", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<DriverKind>,
    #[serde(deserialize_with = "fields::version", skip_serializing_if = "Option::is_none")]
    pub kubernetes_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    #[serde(
        deserialize_with = "fields::lifetime",
        serialize_with = "fields::lifetime_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub cert_expiration: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harden: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Vec<PathBuf>>,
    #[serde(
        deserialize_with = "fields::ports",
        serialize_with = "fields::ports_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub ports: Option<Vec<PublishedPort>>,
    /// Mounts as [`super::mount::parse_mount`] reads them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Vec<String>>,
    /// The number of control planes among `nodes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_planes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Nodes>,
    #[serde(skip_serializing_if = "is_default")]
    pub network: NetworkTable,
    #[serde(skip_serializing_if = "is_default")]
    pub apiserver: ApiServerTable,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_gates: Option<BTreeMap<String, bool>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addons: Option<AddonTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_config: Option<BTreeMap<String, BTreeMap<String, String>>>,
}

/// The table `[network]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct NetworkTable {
    #[serde(deserialize_with = "fields::cidr", skip_serializing_if = "Option::is_none")]
    pub subnet: Option<Subnets>,
    #[serde(deserialize_with = "fields::cidr", skip_serializing_if = "Option::is_none")]
    pub pod_cidr: Option<Subnets>,
    #[serde(deserialize_with = "fields::cidr", skip_serializing_if = "Option::is_none")]
    pub service_cidr: Option<Subnets>,
    #[serde(deserialize_with = "fields::domain", skip_serializing_if = "Option::is_none")]
    pub dns_domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nameservers: Option<Vec<IpAddr>>,
}

/// The table `[apiserver]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct ApiServerTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ips: Option<Vec<IpAddr>>,
}

/// The value of `nodes = 3` or `[[nodes]]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Nodes {
    /// A number of nodes.
    Count(usize),
    /// A list of nodes.
    List(Vec<NodeEntry>),
}

/// An entry of `[[nodes]]`: one node, or `count` equal ones.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct NodeEntry {
    /// The name of the node, if the entry is not for the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<DriverKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taints: Option<Vec<Taint>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jump: Option<Place>,
}

impl ClusterFile {
    /// Parses the text of a file; `path` is for messages only.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self> {
        let file: ClusterFile = toml::from_str(text).map_err(|error| explain(&error, text, path))?;
        file.check().map_err(|problem| Error::new(Id::ConfigInvalid, format!("{}: {problem}", path.display())))?;
        Ok(file)
    }

    /// Checks the rules that the types do not hold.
    fn check(&self) -> Checked<()> {
        for name in self.apiserver.names.iter().flatten() {
            validate::certificate_name(name).map_err(|problem| format!("names under [apiserver]: {problem}"))?;
        }
        for name in self.feature_gates.iter().flatten().map(|(name, _)| name) {
            validate::feature_gate(name).map_err(|problem| format!("[feature-gates]: {problem}"))?;
        }
        for (component, flags) in self.extra_config.iter().flatten() {
            validate::extra_config_component(component)
                .and_then(|()| flags.keys().try_for_each(|key| validate::extra_config_key(component, key)))
                .map_err(|problem| format!("[extra-config]: {problem}"))?;
        }
        if let Some(Nodes::List(entries)) = &self.nodes {
            if self.control_planes.is_some() {
                return Err("control-planes goes with a number of nodes: in [[nodes]], say the role of each".to_owned());
            }
            for (index, entry) in entries.iter().enumerate() {
                let place = entry_name(index);
                if entry.name.is_some() && entry.count.is_some_and(|count| count > 1) {
                    return Err(format!(
                        "{place}: a name is for one node: give each an entry of its own, without count"
                    ));
                }
                if entry.count == Some(0) {
                    return Err(format!("{place}: count is 0; leave the entry out instead"));
                }
                if entry.host.is_none() && (entry.key.is_some() || entry.jump.is_some()) {
                    return Err(format!("{place}: key and jump need a host: name it with host"));
                }
                if entry.host.is_some() && entry.count.is_some_and(|count| count > 1) {
                    return Err(format!("{place}: a host is one node: give each an entry of its own, without count"));
                }
                labels::check(entry.labels.as_ref().unwrap_or(&BTreeMap::new()))
                    .map_err(|problem| format!("{place}: labels: {problem}"))?;
                labels::check_taints(entry.taints.as_deref().unwrap_or_default())
                    .map_err(|problem| format!("{place}: taints: {problem}"))?;
            }
        }
        Ok(())
    }
}

/// Names an entry of `[[nodes]]` in messages.
pub(super) fn entry_name(index: usize) -> String {
    format!("entry {} of [[nodes]]", index + 1)
}

/// Explains an error of the TOML reader: the line, the problem, and the key or value that may be meant.
fn explain(error: &toml::de::Error, text: &str, path: &Path) -> Error {
    let place = match error.span() {
        Some(span) => {
            let before = &text[..span.start.min(text.len())];
            let line = before.matches('\n').count();
            let code = text.lines().nth(line).unwrap_or("").trim();
            let code = if code.is_empty() { String::new() } else { format!(", at `{code}`") };
            format!("{}, line {}{code}", path.display(), line + 1)
        }
        None => path.display().to_string(),
    };
    let Some((found, known)) = unknown_word(error.message()) else {
        // In the words of TOML rather than of the library that reads it.
        let message = error.message().replace("expected a sequence", "expected a list such as [\"a\", \"b\"]");
        return Error::new(Id::ConfigInvalid, format!("{place}: {message}"));
    };
    let key = error.message().starts_with("unknown field");
    // Machines in memory are for kcl's own tests.
    let known: Vec<_> = known.into_iter().filter(|word| *word != DriverKind::Fake.name()).collect();
    let kind = if key { "is not a key here" } else { "is not a value for this key" };
    let right = suggestion(found, known, "known are");
    Error::new(Id::ConfigInvalid, format!("{place}: \"{found}\" {kind}: {right}"))
}

impl<'de> Deserialize<'de> for Nodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Nodes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of nodes, or tables under [[nodes]]")
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> std::result::Result<Nodes, E> {
                let count = usize::try_from(number).map_err(|_| E::custom(validate::wrong_node_count(number)))?;
                Ok(Nodes::Count(count))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> std::result::Result<Nodes, A::Error> {
                Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(seq)).map(Nodes::List)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
