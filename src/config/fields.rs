//! Values of the cluster file that have a form of their own in TOML.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_driver_api::PublishedPort;
use kcl_node_spec::Subnets;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use super::units;
use super::validate::{self, Checked};
use crate::addon_config::AddonConfig;

/// The value of `addons = ["a", "b"]`, or `[addons.a]` with values. An addon that is mentioned is enabled unless
/// `enabled = false`; `source` is the path or reference of a user's own.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct AddonTable(pub BTreeMap<String, AddonConfig>);

/// A size in bytes; in the file a text with a unit, or a number of MiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Memory(pub u64);

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

impl<'de> Deserialize<'de> for AddonTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = AddonTable;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of addons such as [\"ingress\"], or tables such as [addons.ingress]")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> std::result::Result<AddonTable, A::Error> {
                let names: Vec<String> = Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(seq))?;
                let enabled = AddonConfig { enabled: Some(true), ..AddonConfig::default() };
                Ok(AddonTable(names.into_iter().map(|name| (name, enabled.clone())).collect()))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> std::result::Result<AddonTable, A::Error> {
                let tables: BTreeMap<String, BTreeMap<String, serde_json::Value>> =
                    BTreeMap::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                let config = |(name, mut values): (String, BTreeMap<String, serde_json::Value>)| {
                    let wrong = |key: &str, right: &str| A::Error::custom(format!("{name}: {key} must be {right}"));
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
                tables.into_iter().map(config).collect::<std::result::Result<_, _>>().map(AddonTable)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Reads a text by a rule of [`validate`] or [`units`].
fn read<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    rule: impl Fn(&str) -> Checked<T>,
) -> std::result::Result<Option<T>, D::Error> {
    rule(&String::deserialize(deserializer)?).map(Some).map_err(D::Error::custom)
}

pub(super) fn cluster_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<String>, D::Error> {
    read(deserializer, validate::cluster_name)
}

pub(super) fn version<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<String>, D::Error> {
    read(deserializer, validate::version)
}

pub(super) fn cidr<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Subnets>, D::Error> {
    read(deserializer, validate::cidr)
}

pub(super) fn domain<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<String>, D::Error> {
    read(deserializer, validate::domain)
}

pub(super) fn lifetime<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Duration>, D::Error> {
    read(deserializer, units::parse_lifetime)
}

pub(super) fn lifetime_text<S: Serializer>(
    lifetime: &Option<Duration>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_some(&lifetime.map(units::format_lifetime))
}

pub(super) fn ports<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Vec<PublishedPort>>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| validate::port(text)).collect::<Checked<_>>().map(Some).map_err(D::Error::custom)
}

pub(super) fn ports_text<S: Serializer>(
    ports: &Option<Vec<PublishedPort>>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(ports.iter().flatten().map(ToString::to_string))
}
