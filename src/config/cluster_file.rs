//! The cluster file: what may stand in it, read from TOML and written back by `config view`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kcl_driver_api::{DriverKind, PublishedPort};
use kcl_driver_ssh::Place;
use kcl_node_spec::{Role, Subnets};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use crate::config::{AddonConfig, ClusterSpec, addon, units, words};
use crate::error::{Error, Family, Result};
use crate::text::{suggestion, unknown_word};

/// A cluster file. What it leaves out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct ClusterFile {
    #[serde(deserialize_with = "cluster_name", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<DriverKind>,
    #[serde(deserialize_with = "version", skip_serializing_if = "Option::is_none")]
    pub kubernetes_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    #[serde(deserialize_with = "lifetime", serialize_with = "lifetime_text", skip_serializing_if = "Option::is_none")]
    pub cert_expiration: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Vec<PathBuf>>,
    #[serde(deserialize_with = "ports", serialize_with = "ports_text", skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<PublishedPort>>,
    /// As [`words::mount`] reads them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Nodes>,
    #[serde(skip_serializing_if = "is_default")]
    pub network: NetworkTable,
    #[serde(skip_serializing_if = "is_default")]
    pub apiserver: ApiServerTable,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_gates: Option<BTreeMap<String, bool>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addons: Option<Addons>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_config: Option<BTreeMap<String, BTreeMap<String, String>>>,
}

/// `[network]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct NetworkTable {
    #[serde(deserialize_with = "cidr", skip_serializing_if = "Option::is_none")]
    pub subnet: Option<Subnets>,
    #[serde(deserialize_with = "cidr", skip_serializing_if = "Option::is_none")]
    pub pod_cidr: Option<Subnets>,
    #[serde(deserialize_with = "cidr", skip_serializing_if = "Option::is_none")]
    pub service_cidr: Option<Subnets>,
    #[serde(deserialize_with = "domain", skip_serializing_if = "Option::is_none")]
    pub dns_domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nameservers: Option<Vec<IpAddr>>,
}

/// `[apiserver]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct ApiServerTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ips: Option<Vec<IpAddr>>,
}

/// `nodes = 3` or `[[nodes]]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Nodes {
    /// So many.
    Count(usize),
    /// These.
    List(Vec<NodeEntry>),
}

/// An entry of `[[nodes]]`: one node, or `count` alike.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct NodeEntry {
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
    pub host: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jump: Option<Place>,
}

/// `addons = ["a", "b"]`, or `[addons.a]` with values. An addon that is mentioned is enabled, unless `enabled = false`;
/// `source` is where a user's own is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Addons(pub BTreeMap<String, AddonConfig>);

/// Bytes; in the file a text with a unit, or a number of MiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Memory(pub u64);

impl ClusterFile {
    /// Reads and checks the file at `path`. Paths in it count from where it lies, and are absolute afterwards.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(Family::Usage, format!("the cluster file {} cannot be read: {error}", path.display()))
                .hint("name a file that is there with --config FILE")
                .source(error)
        })?;
        let mut file = ClusterFile::parse(&text, path)?;
        let base = path.parent().unwrap_or(Path::new(""));
        for manifest in file.manifests.iter_mut().flatten() {
            *manifest = super::nodes::manifest(&base.join(&manifest))
                .map_err(|problem| Error::new(Family::Usage, format!("{}: manifests: {problem}", path.display())))?;
        }
        for mount in file.mounts.iter_mut().flatten() {
            let read = words::mount(mount, base)
                .map_err(|problem| Error::new(Family::Usage, format!("{}: mounts: {problem}", path.display())))?;
            *mount = read.to_string();
        }
        for (name, config) in file.addons.iter_mut().flat_map(|Addons(table)| table) {
            if let Some(source) = &config.source {
                let (found, place) = addon::locate(&format!("{}/", source.display()), base)?.unwrap_or_default();
                if found != *name {
                    let problem = format!("the source of the addon \"{name}\" is one called \"{found}\"");
                    return Err(Error::new(Family::Usage, format!("{}: addons: {problem}", path.display())));
                }
                config.source = Some(place);
            }
        }
        if let Some(Nodes::List(entries)) = &mut file.nodes {
            for key in entries.iter_mut().filter_map(|entry| entry.key.as_mut()) {
                *key = super::nodes::key(base, key)
                    .map_err(|problem| Error::new(Family::Usage, format!("{}: key: {problem}", path.display())))?;
            }
        }
        Ok(file)
    }

    /// The file's text; `path` is for messages only.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self> {
        let file: ClusterFile = toml::from_str(text).map_err(|error| explain(&error, text, path))?;
        file.check().map_err(|problem| Error::new(Family::Usage, format!("{}: {problem}", path.display())))?;
        Ok(file)
    }

    /// The rules that the types do not hold.
    fn check(&self) -> words::Checked<()> {
        for name in self.apiserver.names.iter().flatten() {
            words::certificate_name(name).map_err(|problem| format!("names under [apiserver]: {problem}"))?;
        }
        for name in self.feature_gates.iter().flatten().map(|(name, _)| name) {
            words::feature_gate(name).map_err(|problem| format!("[feature-gates]: {problem}"))?;
        }
        for (component, flags) in self.extra_config.iter().flatten() {
            words::extra_config_component(component)
                .and_then(|()| flags.keys().try_for_each(|key| words::extra_config_key(component, key)))
                .map_err(|problem| format!("[extra-config]: {problem}"))?;
        }
        if let Some(Nodes::List(entries)) = &self.nodes {
            for (index, entry) in entries.iter().enumerate() {
                let place = format!("entry {} of [[nodes]]", index + 1);
                if entry.count == Some(0) {
                    return Err(format!("{place}: count is 0; leave the entry out instead"));
                }
                if entry.host.is_none() && (entry.key.is_some() || entry.jump.is_some()) {
                    return Err(format!("{place}: key and jump are for a node that is a host: name it with host"));
                }
                if entry.host.is_some() && entry.count.is_some_and(|count| count > 1) {
                    return Err(format!("{place}: a host is one node: give each an entry of its own, without count"));
                }
                words::labels(entry.labels.as_ref().unwrap_or(&BTreeMap::new()))
                    .map_err(|problem| format!("{place}: labels: {problem}"))?;
            }
        }
        Ok(())
    }
}

impl From<&ClusterSpec> for ClusterFile {
    fn from(spec: &ClusterSpec) -> Self {
        let spec = spec.clone();
        let (nodes, cpus, memory) = super::nodes::write(&spec.nodes);
        ClusterFile {
            name: Some(spec.name),
            driver: spec.driver,
            kubernetes_version: Some(spec.kubernetes_version),
            cpus,
            memory,
            cert_expiration: Some(spec.cert_expiration),
            ports: Some(spec.ports).filter(|list| !list.is_empty()),
            mounts: Some(spec.mounts.iter().map(ToString::to_string).collect())
                .filter(|list: &Vec<_>| !list.is_empty()),
            manifests: Some(spec.manifests).filter(|list| !list.is_empty()),
            nodes: Some(nodes),
            network: NetworkTable {
                subnet: spec.subnet,
                pod_cidr: Some(spec.pod_cidr),
                service_cidr: Some(spec.service_cidr),
                dns_domain: Some(spec.dns_domain),
                nameservers: spec.nameservers,
            },
            apiserver: ApiServerTable {
                names: Some(spec.apiserver_names).filter(|list| !list.is_empty()),
                ips: Some(spec.apiserver_ips).filter(|list| !list.is_empty()),
            },
            feature_gates: Some(spec.feature_gates).filter(|table| !table.is_empty()),
            addons: Some(spec.addons).filter(|table| !table.is_empty()).map(Addons),
            extra_config: Some(spec.extra_config).filter(|table| !table.is_empty()),
        }
    }
}

/// An error of the TOML reader, in words: where, what, and what may have been meant.
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
        return Error::new(Family::Usage, format!("{place}: {message}"));
    };
    let key = error.message().starts_with("unknown field");
    // Machines in memory are for kcl's own tests.
    let known: Vec<_> = known.into_iter().filter(|word| *word != DriverKind::Fake.name()).collect();
    let kind = if key { "is not a key here" } else { "is not a value for this key" };
    let right = suggestion(found, known, "known are");
    Error::new(Family::Usage, format!("{place}: \"{found}\" {kind}: {right}"))
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Memory;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a size of memory such as \"2g\", or a number of MiB")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Memory, E> {
                units::parse_memory(text).map(Memory).map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> std::result::Result<Memory, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for Memory {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&units::format_memory(self.0))
    }
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
                let count = usize::try_from(number).map_err(|_| E::custom(super::nodes::wrong_count(number)))?;
                Ok(Nodes::Count(count))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> std::result::Result<Nodes, A::Error> {
                Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(seq)).map(Nodes::List)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for Addons {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Addons;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of addons such as [\"ingress\"], or tables such as [addons.ingress]")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> std::result::Result<Addons, A::Error> {
                let names: Vec<String> = Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(seq))?;
                let enabled = AddonConfig { enabled: Some(true), ..AddonConfig::default() };
                Ok(Addons(names.into_iter().map(|name| (name, enabled.clone())).collect()))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> std::result::Result<Addons, A::Error> {
                let tables: BTreeMap<String, BTreeMap<String, serde_json::Value>> =
                    BTreeMap::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                let config = |(name, mut values): (String, BTreeMap<String, serde_json::Value>)| {
                    let wrong = |key: &str, right: &str| A::Error::custom(format!("{name}: {key} has to be {right}"));
                    let enabled = match values.remove("enabled") {
                        None => Some(true),
                        Some(value) => Some(value.as_bool().ok_or_else(|| wrong("enabled", "true or false"))?),
                    };
                    let source = match values.remove("source") {
                        None => None,
                        Some(value) => Some(value.as_str().ok_or_else(|| wrong("source", "a path"))?.into()),
                    };
                    Ok((name, AddonConfig { enabled, source, values }))
                };
                tables.into_iter().map(config).collect::<std::result::Result<_, _>>().map(Addons)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A text in the file that a rule of [`words`] or [`units`] reads.
fn read<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    rule: impl Fn(&str) -> words::Checked<T>,
) -> std::result::Result<Option<T>, D::Error> {
    rule(&String::deserialize(deserializer)?).map(Some).map_err(D::Error::custom)
}

fn cluster_name<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<String>, D::Error> {
    read(deserializer, words::cluster_name)
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<String>, D::Error> {
    read(deserializer, words::version)
}

fn cidr<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Subnets>, D::Error> {
    read(deserializer, words::cidr)
}

fn domain<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<String>, D::Error> {
    read(deserializer, words::domain)
}

fn lifetime<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Duration>, D::Error> {
    read(deserializer, units::parse_lifetime)
}

fn lifetime_text<S: Serializer>(lifetime: &Option<Duration>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_some(&lifetime.map(units::format_lifetime))
}

fn ports<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Vec<PublishedPort>>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| words::port(text)).collect::<words::Checked<_>>().map(Some).map_err(D::Error::custom)
}

fn ports_text<S: Serializer>(
    ports: &Option<Vec<PublishedPort>>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(ports.iter().flatten().map(ToString::to_string))
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
