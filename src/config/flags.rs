//! The flags of a command line as a source of settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kcl_driver_ssh::Place;

use super::flag::{read, read_list, said_by};
use super::mount::parse_mount;
use super::nodes::NewNode;
use super::spec::{ClusterSpec, set};
use super::validate::{self, Checked};
use super::{nodes, units};
use crate::addon_config;
use crate::error::{Error, Id, Result};

/// The flags of a command line, as they were typed.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The cluster file: `--config`.
    pub config: Option<PathBuf>,
    /// The cluster's name: `--profile`.
    pub profile: Option<String>,
    /// The driver: `--driver`.
    pub driver: Option<String>,
    /// The number of nodes: `--nodes`.
    pub nodes: Option<usize>,
    /// The number of control planes among the nodes: `--control-planes`.
    pub control_planes: Option<usize>,
    /// The version of Kubernetes: `--kubernetes-version`.
    pub kubernetes_version: Option<String>,
    /// The CPUs of each node: `--cpus`.
    pub cpus: Option<u32>,
    /// The memory of each node, as [`units::parse_memory`] reads it: `--memory`.
    pub memory: Option<String>,
    /// The node network: `--subnet`.
    pub subnet: Option<String>,
    /// The network of pods: `--pod-cidr`.
    pub pod_cidr: Option<String>,
    /// The network of services: `--service-cidr`.
    pub service_cidr: Option<String>,
    /// The DNS domain of services: `--dns-domain`.
    pub dns_domain: Option<String>,
    /// Resolvers, or "none": `--nameservers`.
    pub nameservers: Option<Vec<String>>,
    /// Flags of components: `--extra-config component.key=value`.
    pub extra_config: Vec<String>,
    /// Feature gates: `--feature-gates A=true,B=false`.
    pub feature_gates: Option<String>,
    /// The lifetime of certificates, as [`units::parse_lifetime`] reads it: `--cert-expiration`.
    pub cert_expiration: Option<String>,
    /// Pod Security for namespaces that name no level: `--harden`.
    pub harden: Option<bool>,
    /// Names for the API server's certificate, several with commas: `--apiserver-names`.
    pub apiserver_names: Vec<String>,
    /// Addresses for the API server's certificate, several with commas: `--apiserver-ips`.
    pub apiserver_ips: Vec<String>,
    /// Published ports, several with commas, as [`validate::port`] reads them: `--ports`.
    pub ports: Vec<String>,
    /// Directories of this host and their paths in the nodes: `--mount`.
    pub mounts: Vec<String>,
    /// Names, folders, archives or references of addons, several with commas: `--addons`.
    pub addons: Vec<String>,
    /// Files with manifests: `--manifest`.
    pub manifests: Vec<PathBuf>,
    /// Hosts, each a node: `--host`.
    pub hosts: Vec<String>,
    /// The private key for all hosts: `--ssh-key`.
    pub ssh_key: Option<PathBuf>,
    /// The jump host for all hosts: `--ssh-jump`.
    pub ssh_jump: Option<String>,
    /// Accepts unknown keys of hosts: `--accept-host-key`.
    pub accept_host_key: bool,
    /// A further node: `kcl node add`.
    pub new_node: Option<NewNode>,
}

/// Applies the flags of a command line.
pub(super) fn apply(spec: &mut ClusterSpec, flags: &Overrides) -> Result<()> {
    spec.driver = read(flags.driver.as_deref(), "--driver", validate::driver)?.or(spec.driver);
    if let Some(version) = read(flags.kubernetes_version.as_deref(), "--kubernetes-version", validate::version)? {
        spec.set_version(version);
    }
    hosts(spec, flags)?;
    if let Some(count) = flags.nodes {
        nodes::resize(spec, count).map_err(said_by("--nodes"))?;
    }
    if let Some(new) = &flags.new_node {
        nodes::add(spec, new)?;
    }
    spec.set_limits(flags.cpus, read(flags.memory.as_deref(), "--memory", units::parse_memory)?);
    spec.subnet = read(flags.subnet.as_deref(), "--subnet", validate::cidr)?.or(spec.subnet);
    set(&mut spec.pod_cidr, read(flags.pod_cidr.as_deref(), "--pod-cidr", validate::cidr)?);
    set(&mut spec.service_cidr, read(flags.service_cidr.as_deref(), "--service-cidr", validate::cidr)?);
    set(&mut spec.dns_domain, read(flags.dns_domain.as_deref(), "--dns-domain", validate::domain)?);
    if let Some(texts) = &flags.nameservers {
        let texts: &[String] = if texts.as_slice() == ["none"] { &[] } else { texts };
        spec.nameservers = Some(read_list(texts, "--nameservers", |text| {
            text.parse().map_err(|_| format!("\"{text}\" is not an IP address; \"none\" stands for no resolver"))
        })?);
    }
    for text in &flags.extra_config {
        let (component, key, value) = extra_config(text).map_err(said_by("--extra-config"))?;
        spec.extra_config.entry(component).or_default().insert(key, value);
    }
    spec.feature_gates
        .extend(read(flags.feature_gates.as_deref(), "--feature-gates", feature_gates)?.unwrap_or_default());
    set(&mut spec.cert_expiration, read(flags.cert_expiration.as_deref(), "--cert-expiration", units::parse_lifetime)?);
    set(&mut spec.harden, flags.harden);
    let names = read_list(&flags.apiserver_names, "--apiserver-names", validate::certificate_name)?;
    set(&mut spec.apiserver_names, Some(names).filter(|names| !names.is_empty()));
    let ips = read_list(&flags.apiserver_ips, "--apiserver-ips", |text| {
        text.parse().map_err(|_| format!("\"{text}\" is not an IP address"))
    })?;
    set(&mut spec.apiserver_ips, Some(ips).filter(|ips| !ips.is_empty()));
    let ports = read_list(&flags.ports, "--ports", validate::port)?;
    set(&mut spec.ports, Some(ports).filter(|ports| !ports.is_empty()));
    if !flags.mounts.is_empty() {
        let read = |text: &String| parse_mount(text, Path::new("")).map_err(said_by("--mount"));
        spec.mounts = flags.mounts.iter().map(read).collect::<Result<_>>()?;
    }
    for word in flags.addons.iter().flat_map(|text| text.split(',')).filter(|word| !word.is_empty()) {
        addon_config::enable_addon(&mut spec.addons, word)?;
    }
    if !flags.manifests.is_empty() {
        spec.manifests = flags
            .manifests
            .iter()
            .map(|path| validate::manifest(path, &spec.manifests).map_err(said_by("--manifest")))
            .collect::<Result<_>>()?;
    }
    Ok(())
}

/// Applies the flags for existing hosts.
fn hosts(spec: &mut ClusterSpec, flags: &Overrides) -> Result<()> {
    let place = |text: &str| text.parse::<Place>().map_err(|error| error.message);
    let hosts: Vec<Place> =
        flags.hosts.iter().map(|text| place(text).map_err(said_by("--host"))).collect::<Result<_>>()?;
    if let Some(count) = flags.nodes.filter(|count| !hosts.is_empty() && *count != hosts.len()) {
        let message = format!("--nodes is {count}, but {} hosts are named: each host is a node", hosts.len());
        return Err(Error::new(Id::FlagInvalid, message).hint("leave --nodes out, or name as many hosts with --host"));
    }
    let key = flags
        .ssh_key
        .as_deref()
        .map(|path| validate::key(Path::new(""), path).map_err(said_by("--ssh-key")))
        .transpose()?;
    let jump = read(flags.ssh_jump.as_deref(), "--ssh-jump", place)?;
    spec.accept_host_key = flags.accept_host_key;
    nodes::hosts(spec, &hosts, key.as_ref(), jump.as_ref()).map_err(said_by("--host"))
}

/// Parses a value of `--extra-config`: `component.key=value`.
fn extra_config(text: &str) -> Checked<(String, String, String)> {
    let wrong = || format!("\"{text}\": write it as \"component.flag=value\", such as \"kubelet.max-pods=50\"");
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    let (component, key) = key.split_once('.').ok_or_else(wrong)?;
    validate::extra_config_key(component, key)?;
    Ok((component.to_owned(), key.to_owned(), value.to_owned()))
}

/// Parses the value of `--feature-gates`: `A=true,B=false`.
fn feature_gates(text: &str) -> Checked<BTreeMap<String, bool>> {
    let gate = |text: &str| {
        let wrong = || format!("\"{text}\": write it as \"Name=true\" or \"Name=false\"");
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        let value = value.trim().to_ascii_lowercase().parse().map_err(|_| wrong())?;
        Ok((validate::feature_gate(name.trim())?, value))
    };
    text.split(',').filter(|gate| !gate.trim().is_empty()).map(gate).collect()
}
