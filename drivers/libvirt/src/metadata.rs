//! Reads and writes a domain's metadata about its machine, in a namespace of kcl's, which distinguishes machines from
//! other domains.

use std::collections::BTreeMap;
use std::path::Path;

use kcl_driver_api::{Addresses, MachineSpec, Result};
use serde::Deserialize;
use virt::domain::Domain;
use virt::error::ErrorNumber;
use virt::sys::{VIR_DOMAIN_AFFECT_CONFIG, VIR_DOMAIN_METADATA_ELEMENT};

use crate::connection::LibvirtContext as _;
use crate::xml::{Element, element};

/// The XML namespace. A change of the format takes another one.
pub(crate) const NAMESPACE: &str = "urn:kcl:libvirt:1";

/// The metadata of a machine's domain.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Metadata {
    /// The canonical `$KCL_HOME`.
    #[serde(rename = "@home")]
    pub home: String,
    /// The name of the cluster.
    #[serde(rename = "@cluster")]
    pub cluster: String,
    /// The name of the machine.
    #[serde(rename = "@name")]
    pub name: String,
    /// The machine's address.
    #[serde(rename = "@address")]
    pub address: Addresses,
    /// The machine's labels.
    #[serde(rename = "label", default)]
    labels: Vec<Label>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Label {
    #[serde(rename = "@name")]
    name: String,
    #[serde(rename = "@value")]
    value: String,
}

impl Metadata {
    /// Returns the metadata of a machine of a home.
    pub(crate) fn of(home: &Path, spec: &MachineSpec) -> Metadata {
        let label = |(name, value): (&String, &String)| Label { name: name.clone(), value: value.clone() };
        Metadata {
            home: home.to_string_lossy().into_owned(),
            cluster: spec.cluster.clone(),
            name: spec.name.clone(),
            address: spec.address,
            labels: spec.labels.iter().map(label).collect(),
        }
    }

    /// Returns the labels of the machine.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        self.labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect()
    }

    /// Returns the one element in a domain's `metadata`.
    pub(crate) fn element(&self) -> Element {
        let label = |label: &Label| element("kcl:label").with("name", &label.name).with("value", &label.value);
        element("kcl:machine")
            .with("xmlns:kcl", NAMESPACE)
            .with("home", &self.home)
            .with("cluster", &self.cluster)
            .with("name", &self.name)
            .with("address", self.address)
            .holding(self.labels.iter().map(label))
    }

    /// Returns the metadata of a domain's definition; none if it is not a machine of kcl's, or was deleted in the
    /// meantime.
    pub(crate) fn read(domain: &Domain) -> Result<Option<Metadata>> {
        let read = domain.get_metadata(VIR_DOMAIN_METADATA_ELEMENT as i32, Some(NAMESPACE), VIR_DOMAIN_AFFECT_CONFIG);
        match read {
            Ok(text) => Ok(parse(&text)),
            Err(error) => match error.code() {
                // The last is a domain that is not defined, but only runs.
                ErrorNumber::NoDomainMetadata | ErrorNumber::NoDomain | ErrorNumber::OperationInvalid => Ok(None),
                _ => Err(error).with_context(|| "read the metadata of a domain".to_owned()),
            },
        }
    }
}

/// Parses metadata; elements of other programs in the namespace count as missing.
fn parse(text: &str) -> Option<Metadata> {
    quick_xml::de::from_str(text).inspect_err(|error| tracing::debug!("{error}: {text}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_as_written() {
        let labels = [("kcl.role", "worker"), ("kcl.node", "<\"&'>")];
        let labels = labels.map(|(name, value)| Label { name: name.into(), value: value.into() });
        let metadata = Metadata {
            home: "/home/it's & me/.kcl".into(),
            cluster: "kcl".into(),
            name: "kcl-m02".into(),
            address: [10, 89, 0, 3].into(),
            labels: labels.into(),
        };
        assert_eq!(parse(&metadata.element().render()), Some(metadata));
        assert_eq!(parse("<kcl:machine/>"), None);
    }
}
