//! Defaults < cluster file < environment < flags; of an existing cluster, what is not said stays as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kcl_driver_api::DriverKind;
use kcl_driver_ssh::Place;
use serde::Deserialize;
use serde::de::IntoDeserializer;

use crate::config::cluster_file::{Addons, ApiServerTable, ClusterFile, Memory, NetworkTable, Nodes};
use crate::config::words::Checked;
use crate::config::{ClusterSpec, DEFAULT_NAME, addon, limits, nodes, units, words};
use crate::error::{Error, Family, Result};
use crate::text::{suggestion, unknown_word};

/// What the flags of a command line say; texts as they were typed.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config`: the cluster file.
    pub config: Option<PathBuf>,
    /// `--profile`: the cluster's name.
    pub profile: Option<String>,
    /// `--driver`.
    pub driver: Option<String>,
    /// `--nodes`: how many.
    pub nodes: Option<usize>,
    /// `--kubernetes-version`.
    pub kubernetes_version: Option<String>,
    /// `--cpus`: of each node.
    pub cpus: Option<u32>,
    /// `--memory`: of each node, see [`crate::config::parse_memory`].
    pub memory: Option<String>,
    /// `--subnet`: the node network.
    pub subnet: Option<String>,
    /// `--pod-cidr`.
    pub pod_cidr: Option<String>,
    /// `--service-cidr`.
    pub service_cidr: Option<String>,
    /// `--dns-domain`.
    pub dns_domain: Option<String>,
    /// `--nameservers`, or "none".
    pub nameservers: Option<Vec<String>>,
    /// `--extra-config component.key=value`, each.
    pub extra_config: Vec<String>,
    /// `--feature-gates A=true,B=false`.
    pub feature_gates: Option<String>,
    /// `--cert-expiration`, see [`crate::config::parse_lifetime`].
    pub cert_expiration: Option<String>,
    /// `--apiserver-names`, each may hold several with commas.
    pub apiserver_names: Vec<String>,
    /// `--apiserver-ips`, each may hold several with commas.
    pub apiserver_ips: Vec<String>,
    /// `--ports`, each may hold several with commas, as [`PublishedPort`](kcl_driver_api::PublishedPort) is written.
    pub ports: Vec<String>,
    /// `--mount`, each a directory of this host and its place in the nodes.
    pub mounts: Vec<String>,
    /// `--addons`, each may hold several with commas: names, folders, archives or references.
    pub addons: Vec<String>,
    /// `--manifest`, each a file.
    pub manifests: Vec<PathBuf>,
    /// `--host`, each a node.
    pub hosts: Vec<String>,
    /// `--ssh-key`: for all hosts.
    pub ssh_key: Option<PathBuf>,
    /// `--ssh-jump`: for all hosts.
    pub ssh_jump: Option<String>,
    /// `--accept-host-key`.
    pub accept_host_key: bool,
}

/// Reads a variable of the environment.
type Var<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The wishes of the user for a cluster: the flags, the environment (`KCL_PROFILE`, `KCL_DRIVER`) and the cluster file,
/// each read once.
pub struct Source {
    overrides: Overrides,
    file: Option<ClusterFile>,
    name: Option<String>,
    /// The value of `KCL_DRIVER`.
    driver: Option<String>,
}

impl Source {
    /// Reads the cluster file and the environment.
    ///
    /// # Errors
    /// `Usage` for a file that cannot be read, and a name that is not one for a cluster.
    pub fn read(overrides: &Overrides) -> Result<Source> {
        Source::read_with(overrides, &|name| std::env::var(name).ok())
    }

    pub(super) fn read_with(overrides: &Overrides, var: Var<'_>) -> Result<Source> {
        let file = overrides.config.as_deref().map(ClusterFile::read).transpose()?;
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let name = match (&overrides.profile, var("KCL_PROFILE")) {
            (Some(name), _) => Some(words::cluster_name(name).map_err(said_by("--profile"))?),
            (None, Some(name)) => Some(words::cluster_name(&name).map_err(said_by("the variable KCL_PROFILE"))?),
            (None, None) => file.as_ref().and_then(|file| file.name.clone()),
        };
        Ok(Source { overrides: overrides.clone(), file, name, driver: var("KCL_DRIVER") })
    }

    /// Returns the name of the cluster.
    pub fn profile_name(&self) -> &str {
        self.name.as_deref().unwrap_or(DEFAULT_NAME)
    }

    /// Returns the cluster that the user wants. Flags win over the environment, that over the cluster file, and that over
    /// the existing cluster or the defaults.
    ///
    /// Lists and tables replace those that exist, but `--extra-config` and `--feature-gates` add to them. Addons are
    /// checked by `addons`, which knows them.
    ///
    /// # Errors
    /// [`Family::Usage`]; the message names the flag, the variable, or the file and its key, and says what is right.
    pub fn resolve(&self, existing: Option<&ClusterSpec>) -> Result<ClusterSpec> {
        let mut spec = match existing {
            Some(existing) => existing.clone(),
            None => ClusterSpec::with_defaults(self.profile_name()),
        };
        if let (Some(file), Some(path)) = (&self.file, &self.overrides.config) {
            apply_file(&mut spec, file)
                .map_err(|problem| Error::new(Family::Usage, format!("{}: {problem}", path.display())))?;
        }
        if let Some(value) = &self.driver {
            spec.driver = Some(driver(value).map_err(said_by("the variable KCL_DRIVER"))?);
        }
        apply_flags(&mut spec, &self.overrides)?;
        if spec.driver.is_none() && spec.nodes.iter().all(|node| node.host.is_some()) {
            spec.driver = Some(DriverKind::FOR_HOSTS);
        }
        // A host that exists already is reached in one way only.
        for node in spec.nodes.iter_mut().filter(|node| node.host.is_some() && node.driver.is_none()) {
            node.driver = Some(DriverKind::FOR_HOSTS).filter(|kind| spec.driver != Some(*kind));
        }
        limits::check(&spec)?;
        if let Some(existing) = existing {
            limits::check_change(existing, &spec)?;
        }
        Ok(spec)
    }
}

/// Makes an error of a rule that `who` broke.
fn said_by(who: &str) -> impl Fn(String) -> Error {
    move |problem| Error::new(Family::Usage, format!("{who}: {problem}"))
}

fn apply_file(spec: &mut ClusterSpec, file: &ClusterFile) -> Checked<()> {
    let file = file.clone();
    let NetworkTable { subnet, pod_cidr, service_cidr, dns_domain, nameservers } = file.network;
    let ApiServerTable { names, ips } = file.apiserver;
    spec.driver = file.driver.or(spec.driver);
    if let Some(version) = file.kubernetes_version {
        set_version(spec, version);
    }
    if let Some(list @ Nodes::List(_)) = &file.nodes {
        nodes::apply(spec, list, file.cpus, file.memory)?;
    } else {
        if let Some(count) = &file.nodes {
            nodes::apply(spec, count, None, None)?;
        }
        set_limits(spec, file.cpus, file.memory);
    }
    spec.subnet = subnet.or(spec.subnet);
    set(&mut spec.pod_cidr, pod_cidr);
    set(&mut spec.service_cidr, service_cidr);
    set(&mut spec.dns_domain, dns_domain);
    spec.nameservers = nameservers.or(spec.nameservers.take());
    set(&mut spec.extra_config, file.extra_config);
    set(&mut spec.feature_gates, file.feature_gates);
    set(&mut spec.cert_expiration, file.cert_expiration);
    set(&mut spec.apiserver_names, names);
    set(&mut spec.apiserver_ips, ips);
    set(&mut spec.ports, file.ports);
    if let Some(mounts) = file.mounts {
        spec.mounts = mounts.iter().map(|text| words::mount(text, Path::new(""))).collect::<Checked<_>>()?;
    }
    set(&mut spec.addons, file.addons.map(|Addons(table)| table));
    set(&mut spec.manifests, file.manifests);
    Ok(())
}

fn apply_flags(spec: &mut ClusterSpec, flags: &Overrides) -> Result<()> {
    spec.driver = read(flags.driver.as_deref(), "--driver", driver)?.or(spec.driver);
    if let Some(version) = read(flags.kubernetes_version.as_deref(), "--kubernetes-version", words::version)? {
        set_version(spec, version);
    }
    hosts(spec, flags)?;
    if let Some(count) = flags.nodes {
        nodes::resize(spec, count).map_err(said_by("--nodes"))?;
    }
    set_limits(spec, flags.cpus, read(flags.memory.as_deref(), "--memory", units::parse_memory)?.map(Memory));
    spec.subnet = read(flags.subnet.as_deref(), "--subnet", words::cidr)?.or(spec.subnet);
    set(&mut spec.pod_cidr, read(flags.pod_cidr.as_deref(), "--pod-cidr", words::cidr)?);
    set(&mut spec.service_cidr, read(flags.service_cidr.as_deref(), "--service-cidr", words::cidr)?);
    set(&mut spec.dns_domain, read(flags.dns_domain.as_deref(), "--dns-domain", words::domain)?);
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
    let names = read_list(&flags.apiserver_names, "--apiserver-names", words::certificate_name)?;
    set(&mut spec.apiserver_names, Some(names).filter(|names| !names.is_empty()));
    let ips = read_list(&flags.apiserver_ips, "--apiserver-ips", |text| {
        text.parse().map_err(|_| format!("\"{text}\" is not an IP address"))
    })?;
    set(&mut spec.apiserver_ips, Some(ips).filter(|ips| !ips.is_empty()));
    let ports = read_list(&flags.ports, "--ports", words::port)?;
    set(&mut spec.ports, Some(ports).filter(|ports| !ports.is_empty()));
    if !flags.mounts.is_empty() {
        let read = |text: &String| words::mount(text, Path::new("")).map_err(said_by("--mount"));
        spec.mounts = flags.mounts.iter().map(read).collect::<Result<_>>()?;
    }
    for word in flags.addons.iter().flat_map(|text| text.split(',')).filter(|word| !word.is_empty()) {
        addon::enable_addon(&mut spec.addons, word)?;
    }
    if !flags.manifests.is_empty() {
        spec.manifests = flags
            .manifests
            .iter()
            .map(|path| nodes::manifest(path).map_err(said_by("--manifest")))
            .collect::<Result<_>>()?;
    }
    Ok(())
}

/// Hosts that are the nodes.
fn hosts(spec: &mut ClusterSpec, flags: &Overrides) -> Result<()> {
    let place = |text: &str| text.parse::<Place>().map_err(|error| error.message);
    let hosts: Vec<Place> =
        flags.hosts.iter().map(|text| place(text).map_err(said_by("--host"))).collect::<Result<_>>()?;
    if let Some(count) = flags.nodes.filter(|count| !hosts.is_empty() && *count != hosts.len()) {
        let message = format!("--nodes is {count}, and {} hosts are named: each host is a node", hosts.len());
        return Err(Error::new(Family::Usage, message).hint("leave --nodes out, or name as many hosts with --host"));
    }
    let key = flags
        .ssh_key
        .as_deref()
        .map(|path| nodes::key(Path::new(""), path).map_err(said_by("--ssh-key")))
        .transpose()?;
    let jump = read(flags.ssh_jump.as_deref(), "--ssh-jump", place)?;
    spec.accept_host_key = flags.accept_host_key;
    nodes::hosts(spec, &hosts, key.as_ref(), jump.as_ref()).map_err(said_by("--host"))
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// A less exact version that the present one fits, such as `v1.37` or `stable`, changes nothing.
fn set_version(spec: &mut ClusterSpec, version: String) {
    let exact = spec.kubernetes_version.split('.').count() == 3;
    let fits = matches!(version.as_str(), "stable" | "latest")
        || spec.kubernetes_version.strip_prefix(&version).is_some_and(|rest| rest.starts_with('.'));
    if !(exact && fits) {
        spec.kubernetes_version = version;
    }
}

fn set_limits(spec: &mut ClusterSpec, cpus: Option<u32>, memory: Option<Memory>) {
    for node in &mut spec.nodes {
        node.cpus = cpus.or(node.cpus);
        node.memory = memory.map(|memory| memory.0).or(node.memory);
    }
}

/// The value of a flag, where it was given.
fn read<T>(text: Option<&str>, flag: &str, rule: impl Fn(&str) -> Checked<T>) -> Result<Option<T>> {
    text.map(rule).transpose().map_err(said_by(flag))
}

/// The values of a flag that may be given several times, with commas or without.
fn read_list<T>(texts: &[String], flag: &str, rule: impl Fn(&str) -> Checked<T>) -> Result<Vec<T>> {
    texts.iter().flat_map(|text| text.split(',')).map(|text| rule(text.trim()).map_err(said_by(flag))).collect()
}

fn driver(text: &str) -> Checked<DriverKind> {
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

/// `component.key=value`
fn extra_config(text: &str) -> Checked<(String, String, String)> {
    let wrong = || format!("\"{text}\": write it as \"component.flag=value\", such as \"kubelet.max-pods=50\"");
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    let (component, key) = key.split_once('.').ok_or_else(wrong)?;
    words::extra_config_key(component, key)?;
    Ok((component.to_owned(), key.to_owned(), value.to_owned()))
}

/// `A=true,B=false`
fn feature_gates(text: &str) -> Checked<BTreeMap<String, bool>> {
    let gate = |text: &str| {
        let wrong = || format!("\"{text}\": write it as \"Name=true\" or \"Name=false\"");
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        let value = value.trim().to_ascii_lowercase().parse().map_err(|_| wrong())?;
        Ok((words::feature_gate(name.trim())?, value))
    };
    text.split(',').filter(|gate| !gate.trim().is_empty()).map(gate).collect()
}
