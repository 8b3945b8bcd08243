//! The cluster file as a source of settings.

use std::path::Path;

use super::cluster_file::{ApiServerTable, ClusterFile, NetworkTable, Nodes};
use super::fields::AddonTable;
use super::mount::parse_mount;
use super::nodes;
use super::spec::{ClusterSpec, set};
use super::validate::{self, Checked};
use crate::addon_config;
use crate::error::{Error, Id, Result};

/// Reads and checks the file at `path`. Relative paths in it count from its directory.
pub(super) fn read(path: &Path) -> Result<ClusterFile> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::new(Id::ConfigInvalid, format!("the cluster file {} cannot be read: {error}", path.display()))
            .hint("name an existing file with --config FILE")
            .source(error)
    })?;
    let mut file = ClusterFile::parse(&text, path)?;
    let base = path.parent().unwrap_or(Path::new(""));
    for manifest in file.manifests.iter_mut().flatten() {
        *manifest = base.join(&manifest);
    }
    for mount in file.mounts.iter_mut().flatten() {
        let read = parse_mount(mount, base)
            .map_err(|problem| Error::new(Id::ConfigInvalid, format!("{}: mounts: {problem}", path.display())))?;
        *mount = read.to_string();
    }
    for (name, config) in file.addons.iter_mut().flat_map(|AddonTable(table)| table) {
        if let Some(source) = &config.source {
            let (found, location) = addon_config::locate(&format!("{}/", source.display()), base)?.unwrap_or_default();
            if found != *name {
                let problem = format!("the source of the addon \"{name}\" is called \"{found}\"");
                return Err(Error::new(Id::ConfigInvalid, format!("{}: addons: {problem}", path.display())));
            }
            config.source = Some(location);
        }
    }
    if let Some(Nodes::List(entries)) = &mut file.nodes {
        for key in entries.iter_mut().filter_map(|entry| entry.key.as_mut()) {
            *key = validate::key(base, key)
                .map_err(|problem| Error::new(Id::ConfigInvalid, format!("{}: key: {problem}", path.display())))?;
        }
    }
    Ok(file)
}

/// Applies the settings of a cluster file.
pub(super) fn apply(spec: &mut ClusterSpec, file: &ClusterFile) -> Checked<()> {
    let file = file.clone();
    let NetworkTable { subnet, pod_cidr, service_cidr, dns_domain, nameservers } = file.network;
    let ApiServerTable { names, ips } = file.apiserver;
    spec.driver = file.driver.or(spec.driver);
    if let Some(version) = file.kubernetes_version {
        spec.set_version(version);
    }
    match &file.nodes {
        Some(Nodes::List(entries)) => nodes::apply(spec, entries, file.cpus, file.memory)?,
        Some(Nodes::Count(count)) => nodes::resize(spec, *count)?,
        None => {}
    }
    if !matches!(file.nodes, Some(Nodes::List(_))) {
        spec.set_limits(file.cpus, file.memory.map(|memory| memory.0));
    }
    spec.subnet = subnet.or(spec.subnet);
    set(&mut spec.pod_cidr, pod_cidr);
    set(&mut spec.service_cidr, service_cidr);
    set(&mut spec.dns_domain, dns_domain);
    spec.nameservers = nameservers.or(spec.nameservers.take());
    set(&mut spec.extra_config, file.extra_config);
    set(&mut spec.feature_gates, file.feature_gates);
    set(&mut spec.cert_expiration, file.cert_expiration);
    set(&mut spec.harden, file.harden);
    set(&mut spec.apiserver_names, names);
    set(&mut spec.apiserver_ips, ips);
    set(&mut spec.ports, file.ports);
    if let Some(mounts) = file.mounts {
        spec.mounts = mounts.iter().map(|text| parse_mount(text, Path::new(""))).collect::<Checked<_>>()?;
    }
    set(&mut spec.addons, file.addons.map(|AddonTable(table)| table));
    if let Some(manifests) = file.manifests {
        let manifests = manifests.iter().map(|path| validate::manifest(path, &spec.manifests));
        spec.manifests = manifests.collect::<Checked<_>>().map_err(|problem| format!("manifests: {problem}"))?;
    }
    Ok(())
}
