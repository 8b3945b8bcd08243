//! Rules for single values: names, versions, networks, ports and files. Errors say what is right.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use kcl_driver_api::{DriverKind, Protocol, PublishedPort};
use kcl_node_spec::Subnets;
use serde::Deserialize;
use serde::de::IntoDeserializer;

use super::spec::{EXTRA_CONFIG_COMPONENTS, MAX_NODES, node_name};
use crate::error::{Error, Id, Result};
use crate::text::{is_dns_label, suggestion, unknown_word};

/// The length that the name of a cluster may have, so that names of nodes and links made of it fit.
const MAX_NAME: usize = 40;

/// The result of a rule; the error says what is wrong, and the caller adds the flag or key.
pub(super) type Checked<T> = std::result::Result<T, String>;

/// Checks the name of a cluster: a DNS label of at most 40 characters.
pub fn check_name(name: &str) -> Result<()> {
    cluster_name(name).map(|_| ()).map_err(|problem| Error::new(Id::ClusterNameInvalid, problem))
}

/// Checks the name of a cluster.
pub(super) fn cluster_name(text: &str) -> Checked<String> {
    match is_dns_label(text) && text.len() <= MAX_NAME {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "\"{text}\" is not a name for a cluster: use 1 to {MAX_NAME} lower-case letters, digits and '-', \
             with no '-' at either end"
        )),
    }
}

/// Parses a version of Kubernetes: `v1.37.0`, `v1.37`, `stable` or `latest` out of the same, with or without the `v`.
pub(super) fn version(text: &str) -> Checked<String> {
    if matches!(text, "stable" | "latest") {
        return Ok(text.to_owned());
    }
    let plain = text.strip_prefix('v').unwrap_or(text);
    let number = |part: &str| !part.is_empty() && part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<_> = plain.split('.').collect();
    match (2..=3).contains(&parts.len()) && parts.iter().all(|part| number(part)) {
        true => Ok(format!("v{plain}")),
        false => Err(format!(
            "\"{text}\" is not a version of Kubernetes: write it as \"v1.37.0\", \"1.37\", \"stable\" or \"latest\""
        )),
    }
}

/// Parses a network, which is written by its first address.
pub(super) fn cidr(text: &str) -> Checked<Subnets> {
    let net: Ipv4Net =
        text.parse().map_err(|_| format!("\"{text}\" is not an IPv4 network: write it as \"10.96.0.0/16\""))?;
    match net.trunc() {
        right if right == net => Ok(net.into()),
        right => Err(format!("{net} is an address in a network, not a network: did you mean {right}?")),
    }
}

/// Checks a domain of one or more labels (RFC 1123).
pub(super) fn domain(text: &str) -> Checked<String> {
    match text.len() <= 253 && text.split('.').all(is_dns_label) {
        true => Ok(text.to_owned()),
        false => Err(format!("\"{text}\" is not a DNS domain: write it as \"cluster.local\"")),
    }
}

/// Checks a name for the API server's certificate: a domain whose first label may be `*`.
pub(super) fn certificate_name(text: &str) -> Checked<String> {
    domain(text.strip_prefix("*.").unwrap_or(text))
        .map(|_| text.to_owned())
        .map_err(|_| format!("\"{text}\" is not a DNS name: write it as \"api.example.org\" or \"*.example.org\""))
}

/// Parses a published port as Docker writes it: `[ADDRESS:]PORT:NODE_PORT[/tcp|/udp]`.
pub(super) fn port(text: &str) -> Checked<PublishedPort> {
    let wrong = || {
        format!(
            "\"{text}\" is not a port mapping: write HOST_PORT:NODE_PORT, such as 8080:80, 5353:53/udp or 0.0.0.0:80:80"
        )
    };
    let (rest, protocol) = match text.split_once('/') {
        None => (text, Protocol::Tcp),
        Some((rest, "tcp")) => (rest, Protocol::Tcp),
        Some((rest, "udp")) => (rest, Protocol::Udp),
        Some(_) => return Err(wrong()),
    };
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong);
    let parts: Vec<&str> = rest.split(':').collect();
    let (address, port, machine_port) = match parts.as_slice() {
        [port, machine_port] => (Ipv4Addr::LOCALHOST, port, machine_port),
        [address, port, machine_port] => (address.parse().map_err(|_| wrong())?, port, machine_port),
        _ => return Err(wrong()),
    };
    Ok(PublishedPort { address: address.into(), port: number(port)?, machine_port: number(machine_port)?, protocol })
}

/// Parses the name of a driver.
pub(super) fn driver(text: &str) -> Checked<DriverKind> {
    let parsed: std::result::Result<_, serde::de::value::Error> = DriverKind::deserialize(text.into_deserializer());
    parsed.map_err(|error| {
        let message = error.to_string();
        // Machines in memory are for kcl's own tests.
        let known: Vec<_> = unknown_word(&message)
            .map_or(vec![], |(_, known)| known)
            .into_iter()
            .filter(|word| *word != DriverKind::Fake.name())
            .collect();
        format!("\"{text}\" is not a driver: {}", suggestion(text, known, "known are"))
    })
}

/// Checks the name of a feature gate.
pub(super) fn feature_gate(text: &str) -> Checked<String> {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    match first && text.chars().all(|c| c.is_ascii_alphanumeric()) {
        true => Ok(text.to_owned()),
        false => Err(format!("\"{text}\" is not the name of a feature gate: such names consist of letters and digits")),
    }
}

/// Checks a component of `--extra-config`.
pub(super) fn extra_config_component(component: &str) -> Checked<()> {
    if !EXTRA_CONFIG_COMPONENTS.contains(&component) {
        let right = suggestion(component, EXTRA_CONFIG_COMPONENTS.iter().copied(), "known are");
        return Err(format!("\"{component}\" is not a component: {right}"));
    }
    Ok(())
}

/// Checks a flag of a component of `--extra-config`.
pub(super) fn extra_config_key(component: &str, key: &str) -> Checked<()> {
    extra_config_component(component)?;
    if key.starts_with('-') {
        return Err(format!("\"{key}\": write the flag without dashes: \"{}\"", key.trim_start_matches('-')));
    }
    match !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        true => Ok(()),
        false => Err(format!("\"{key}\" is not a flag of {component}")),
    }
}

/// Checks a number of nodes.
pub(super) fn node_count(count: usize) -> Checked<usize> {
    match (1..=MAX_NODES).contains(&count) {
        true => Ok(count),
        false => Err(wrong_node_count(count)),
    }
}

/// Makes the message for a number of nodes that a cluster cannot have.
pub(super) fn wrong_node_count(count: impl std::fmt::Display) -> String {
    format!("{count} nodes are not possible: a cluster has 1 to {MAX_NODES}")
}

/// Checks the name of a node of the cluster `profile`.
pub(super) fn node(profile: &str, name: &str) -> Checked<()> {
    match (0..MAX_NODES).any(|index| node_name(profile, index) == name) {
        true => Ok(()),
        false => Err(format!(
            "\"{name}\" is not a name for a node of the cluster {profile}: its nodes are {profile}, {}, {}, …",
            node_name(profile, 1),
            node_name(profile, 2)
        )),
    }
}

/// Returns the absolute path of a file, which has to exist.
pub(super) fn file(path: &Path) -> Checked<PathBuf> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => std::path::absolute(path).map_err(|error| error.to_string()),
        Ok(_) => Err(format!("{} is not a file", path.display())),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

/// Returns the absolute path of a manifest, or of a directory of manifests. One of `known`, which the cluster has applied
/// already, need not exist any more.
pub(super) fn manifest(path: &Path, known: &[PathBuf]) -> Checked<PathBuf> {
    let absolute = std::path::absolute(path).map_err(|error| error.to_string())?;
    match std::fs::metadata(path) {
        Err(error) if !known.contains(&absolute) => Err(format!("{} cannot be read: {error}", path.display())),
        _ => Ok(absolute),
    }
}

/// Returns the absolute path of a private key, which has to exist; `~` is the user's home directory.
pub(super) fn key(base: &Path, path: &Path) -> Checked<PathBuf> {
    let home = std::env::home_dir().unwrap_or_default();
    file(&path.strip_prefix("~").map_or_else(|_| base.join(path), |rest| home.join(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_names_are_dns_labels_of_40() {
        for name in ["kcl", "a", "0", "a-1", &"x".repeat(40)] {
            assert_eq!(cluster_name(name).as_deref(), Ok(name));
        }
        for name in ["", "-a", "a-", "A", "a.b", "a/b", "..", "ä", &"x".repeat(41)] {
            assert!(cluster_name(name).unwrap_err().contains(&format!("\"{name}\"")));
            assert_eq!(check_name(name).unwrap_err().id, Id::ClusterNameInvalid);
        }
    }

    #[test]
    fn versions_get_their_v() {
        for (text, right) in [("1.37", "v1.37"), ("v1.37.0", "v1.37.0"), ("1.37.12", "v1.37.12"), ("stable", "stable")]
        {
            assert_eq!(version(text).as_deref(), Ok(right));
        }
        for text in ["", "v", "1", "v1.", "1.37.0.0", "1.x", "new", "vv1.37", "1.37.0 ", "1.99999"] {
            assert!(version(text).unwrap_err().contains("\"v1.37.0\""), "{text}");
        }
    }

    #[test]
    fn networks_are_written_by_their_first_address() {
        assert!(cidr("10.96.0.0/16").is_ok());
        assert!(cidr("10.96.0.1/16").unwrap_err().contains("did you mean 10.96.0.0/16"));
        for text in ["", "10.96.0.0", "10.96.0.0/33", "fd00::/64", "x"] {
            assert!(cidr(text).unwrap_err().contains("\"10.96.0.0/16\""), "{text}");
        }
    }

    #[test]
    fn domains_and_names_of_certificates() {
        assert!(domain("cluster.local").is_ok() && domain("local").is_ok());
        assert!(domain("cluster..local").is_err() && domain("*.local").is_err() && domain("").is_err());
        assert!(certificate_name("*.example.org").is_ok() && certificate_name("a.example.org").is_ok());
        assert!(certificate_name("a.*.org").is_err() && certificate_name("*").is_err());
    }

    #[test]
    fn extra_config_names_components_and_flags() {
        assert!(extra_config_key("kube-proxy", "conntrack.maxPerCore").is_ok());
        assert!(extra_config_key("kube-apiserver", "v").unwrap_err().contains("did you mean \"apiserver\"?"));
        assert!(extra_config_key("kubelet", "--v").unwrap_err().contains("without dashes: \"v\""));
        assert!(extra_config_key("kubelet", "").is_err() && extra_config_key("kubelet", "a b").is_err());
    }
}
