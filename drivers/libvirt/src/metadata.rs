//! What a domain says of its machine, in a namespace of kcl's: by this, machines are told from other domains.

use std::collections::BTreeMap;
use std::path::Path;

use kcl_driver_api::{Addresses, MachineSpec, Result};
use serde::Deserialize;
use virt::domain::Domain;
use virt::error::ErrorNumber;
use virt::sys::{VIR_DOMAIN_AFFECT_CONFIG, VIR_DOMAIN_METADATA_ELEMENT};

use crate::connection::Told;
use crate::xml::{Element, element};

/// The namespace. A change of the format is another one.
pub(crate) const NAMESPACE: &str = "urn:kcl:libvirt:1";

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Metadata {
    /// `$KCL_HOME`, canonical.
    #[serde(rename = "@home")]
    pub home: String,
    /// The cluster.
    #[serde(rename = "@cluster")]
    pub cluster: String,
    /// The machine.
    #[serde(rename = "@name")]
    pub name: String,
    /// Its address.
    #[serde(rename = "@address")]
    pub address: Addresses,
    /// Its labels.
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
    /// Of a machine of a home.
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

    /// The labels of the machine.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        self.labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect()
    }

    /// As the one element in a domain's `metadata`.
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

    /// What a domain says as it is defined; none where it is no machine of kcl's, or was deleted meanwhile.
    pub(crate) fn read(domain: &Domain) -> Result<Option<Metadata>> {
        let read = domain.get_metadata(VIR_DOMAIN_METADATA_ELEMENT as i32, Some(NAMESPACE), VIR_DOMAIN_AFFECT_CONFIG);
        match read {
            Ok(text) => Ok(parse(&text)),
            Err(error) => match error.code() {
                // The last: a domain that is nowhere defined, only runs.
                ErrorNumber::NoDomainMetadata | ErrorNumber::NoDomain | ErrorNumber::OperationInvalid => Ok(None),
                _ => Err(error).told(|| "read what a domain says of itself".to_owned()),
            },
        }
    }
}

/// Others' elements in the namespace are as good as none.
fn parse(text: &str) -> Option<Metadata> {
    quick_xml::de::from_str(text).inspect_err(|error| tracing::debug!("{error}: {text}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
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
