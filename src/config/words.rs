//! Rules for single words of the user: names, domains, versions, networks, labels. Errors say what is right.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Component, Path, PathBuf};

use ipnet::Ipv4Net;
use kcl_driver_api::{HostMount, Protocol, PublishedPort};
use kcl_node_spec::Subnets;
use kcl_node_spec::paths;

use crate::config::EXTRA_CONFIG_COMPONENTS;
use crate::error::{Error, Family, Result};
use crate::text::{is_dns_label, nearest};

/// The longest name of a cluster, so that node names and link names made of it fit.
const MAX_NAME: usize = 40;

/// A result of a rule: what is wrong, without where.
pub(super) type Checked<T> = std::result::Result<T, String>;

/// Checks the name of a cluster: a DNS label of at most 40 characters.
pub fn check_name(name: &str) -> Result<()> {
    cluster_name(name).map(|_| ()).map_err(|problem| Error::new(Family::Usage, problem))
}

/// The name of a cluster.
pub(super) fn cluster_name(text: &str) -> Checked<String> {
    match is_dns_label(text) && text.len() <= MAX_NAME {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "\"{text}\" is not a name for a cluster: use 1 to {MAX_NAME} lower-case letters, digits and '-', \
             with no '-' at either end"
        )),
    }
}

/// A version of Kubernetes: `v1.37.0`, `v1.37`, `stable` or `latest` out of the same, with or without the `v`.
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

/// A network by its first address.
pub(super) fn cidr(text: &str) -> Checked<Subnets> {
    let net: Ipv4Net =
        text.parse().map_err(|_| format!("\"{text}\" is not an IPv4 network: write it as \"10.96.0.0/16\""))?;
    match net.trunc() {
        right if right == net => Ok(net.into()),
        right => Err(format!("{net} is an address in a network, not a network: did you mean {right}?")),
    }
}

/// A domain as of RFC 1123, of several labels or one.
pub(super) fn domain(text: &str) -> Checked<String> {
    match text.len() <= 253 && text.split('.').all(is_dns_label) {
        true => Ok(text.to_owned()),
        false => Err(format!("\"{text}\" is not a DNS domain: write it as \"cluster.local\"")),
    }
}

/// A name for the API server's certificate: a domain, its first label may be `*`.
pub(super) fn certificate_name(text: &str) -> Checked<String> {
    domain(text.strip_prefix("*.").unwrap_or(text))
        .map(|_| text.to_owned())
        .map_err(|_| format!("\"{text}\" is not a DNS name: write it as \"api.example.org\" or \"*.example.org\""))
}

/// A port of the first node on this host, as Docker writes them: `[ADDRESS:]PORT:NODE_PORT[/tcp|/udp]`.
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

/// A directory of this host and where it is in a node: `HOST:NODE[:ro|:rw]`. Relative directories count from
/// `base`.
pub fn mount(text: &str, base: &Path) -> std::result::Result<HostMount, String> {
    let wrong = |why: &str| {
        format!("\"{text}\" is not a mount: {why}; write DIRECTORY:NODE_PATH, such as ./src:/src or ./src:/src:ro")
    };
    let (rest, read_only) = match text.rsplit_once(':') {
        Some((rest, "ro")) => (rest, true),
        Some((rest, "rw")) => (rest, false),
        _ => (text, false),
    };
    // The node's path has no colon, which the host's may.
    let (source, target) = rest.rsplit_once(':').ok_or_else(|| wrong("it has no path in the node"))?;
    let target = PathBuf::from(target);
    let mut parts = target.components();
    if parts.next() != Some(Component::RootDir) || !parts.all(|part| matches!(part, Component::Normal(_))) {
        return Err(wrong("the path in the node has to be absolute and without \"..\""));
    }
    if let Some(own) = NODES_OWN
        .iter()
        .chain(paths::VOLUMES)
        .map(Path::new)
        .find(|own| own.starts_with(&target) || target.starts_with(own))
    {
        return Err(wrong(&format!("{} of a node is its own", own.display())));
    }
    if source.is_empty() {
        return Err(wrong("it names no directory of this host"));
    }
    let home = std::env::home_dir().unwrap_or_default();
    let source = Path::new(source).strip_prefix("~").map_or_else(|_| base.join(source), |rest| home.join(rest));
    let source =
        source.canonicalize().map_err(|error| wrong(&format!("{} cannot be used: {error}", source.display())))?;
    if !source.is_dir() {
        return Err(wrong(&format!("{} is not a directory", source.display())));
    }
    // Normalized: without a slash at the end.
    Ok(HostMount { source, target: target.components().collect(), read_only })
}

/// What in a node belongs to the node, besides its volumes.
const NODES_OWN: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc/cni",
    "/etc/kcl",
    "/etc/kubernetes",
    "/lib",
    "/lib64",
    "/opt/kcl",
    "/proc",
    "/run/containerd",
    "/run/kcl",
    "/sbin",
    "/sys",
    "/usr",
];

/// The name of a feature gate.
pub(super) fn feature_gate(text: &str) -> Checked<String> {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    match first && text.chars().all(|c| c.is_ascii_alphanumeric()) {
        true => Ok(text.to_owned()),
        false => Err(format!("\"{text}\" is not the name of a feature gate: such names are of letters and digits")),
    }
}

/// A component of `--extra-config`.
pub(super) fn extra_config_component(component: &str) -> Checked<()> {
    if !EXTRA_CONFIG_COMPONENTS.contains(&component) {
        let known = EXTRA_CONFIG_COMPONENTS.join(", ");
        let meant = nearest(component, EXTRA_CONFIG_COMPONENTS.iter().copied());
        let right =
            meant.map_or(format!("known are {known}"), |meant| format!("did you mean \"{meant}\"? Known are {known}"));
        return Err(format!("\"{component}\" is not a component: {right}"));
    }
    Ok(())
}

/// A flag of a component, of `--extra-config`.
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

/// Labels of a Node, as the API server and the kubelet's `--node-labels` take them.
pub(super) fn labels(labels: &BTreeMap<String, String>) -> Checked<()> {
    for (key, value) in labels {
        let (prefix, name) = key.split_once('/').map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        if name.is_empty() || !is_label_word(name) || prefix.is_some_and(|prefix| domain(prefix).is_err()) {
            return Err(format!("\"{key}\" is not a key for a label: write it as \"disk\" or \"example.org/disk\""));
        }
        if !is_label_word(value) {
            return Err(format!(
                "\"{value}\" is not a value for the label \"{key}\": use up to 63 letters, digits, '-', '_' and '.', \
                 with a letter or digit at either end"
            ));
        }
        if prefix.is_some_and(is_reserved) && !OPEN_LABELS.contains(&key.as_str()) {
            return Err(format!(
                "the label \"{key}\" is Kubernetes's own, and a kubelet refuses to set it: use a prefix of your own, \
                 or set it with kubectl"
            ));
        }
    }
    Ok(())
}

/// Labels with a reserved prefix that a kubelet may set on its node (`IsKubeletLabel` in Kubernetes).
const OPEN_LABELS: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Whether a kubelet refuses labels with this prefix.
fn is_reserved(prefix: &str) -> bool {
    let within = |domain: &str| prefix == domain || prefix.ends_with(&format!(".{domain}"));
    (within("kubernetes.io") || within("k8s.io")) && !within("kubelet.kubernetes.io") && !within("node.kubernetes.io")
}

/// The name part of a label's key, or a label's value.
fn is_label_word(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && edge(text.chars().next())
        && edge(text.chars().next_back())
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
            assert_eq!(check_name(name).unwrap_err().family, Family::Usage);
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
    fn mounts_name_a_directory_here_and_a_free_place_there() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path().canonicalize().unwrap();
        std::fs::create_dir(here.join("a:b")).unwrap();
        let text = |rest: &str| format!("{}{rest}", here.display());
        for (rest, right) in [
            (":/src", text(":/src")),
            (":/src/:ro", text(":/src:ro")),
            ("/a:b:/var/src:rw", text("/a:b:/var/src")),
            ("/../", String::new()),
        ] {
            match mount(&text(rest), Path::new("")) {
                Ok(mount) => assert_eq!(mount.to_string(), right),
                Err(problem) => assert!(right.is_empty() && problem.contains("no path in the node"), "{problem}"),
            }
        }
        for (rest, why) in [
            (":src", "absolute"),
            (":/a/../b", "absolute"),
            (":/", "its own"),
            (":/var", "its own"),
            (":/proc/x", "its own"),
            ("/missing:/src", "cannot be used"),
        ] {
            let problem = mount(&text(rest), Path::new("")).unwrap_err();
            assert!(problem.contains(why), "{problem}");
        }
        assert_eq!(mount("a:b:/src", &here).unwrap().source, here.join("a:b"));
        assert!(mount(":/src", &here).unwrap_err().contains("names no directory"));
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

    #[test]
    fn labels_are_what_a_kubelet_takes() {
        let check = |key: &str, value: &str| labels(&BTreeMap::from([(key.to_owned(), value.to_owned())]));
        for key in ["disk", "example.org/disk", "topology.kubernetes.io/zone", "x.node.kubernetes.io/a"] {
            assert_eq!(check(key, "fast"), Ok(()));
        }
        assert_eq!(check("disk", ""), Ok(()));
        for key in ["", "/a", "a/", "a/b/c", "-a", "a b", "Ex/a"] {
            assert!(check(key, "x").unwrap_err().contains("is not a key"), "{key}");
        }
        assert!(check("disk", "a b").unwrap_err().contains("is not a value"));
        assert!(check("node-role.kubernetes.io/x", "").unwrap_err().contains("a kubelet refuses"));
    }
}
