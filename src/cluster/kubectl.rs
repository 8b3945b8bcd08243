//! The kubectl of a cluster's version, and a kubeconfig of kcl's own for it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::drivers;
use crate::app::App;
use crate::error::{Error, Family, Result};
use crate::kubeconfig::{Entry, Kubeconfig};
use crate::kubernetes::Access;

/// A kubectl for one cluster.
pub struct Kubectl {
    /// The path of the program.
    pub program: PathBuf,
    /// A kubeconfig with only this cluster: the user's own may have lost it, or belong to another user.
    pub kubeconfig: PathBuf,
}

/// Returns a kubectl for a cluster, and writes its kubeconfig.
pub fn kubectl(app: &App, cluster: &str) -> Result<Kubectl> {
    let state = app.existing(cluster)?;
    let artifacts = drivers::cached(app, &state.spec)?.ok_or_else(|| {
        Error::new(Family::Artifact, format!("kubectl {} is not in the cache", state.spec.kubernetes_version))
            .hint(format!("get it with: kcl artifacts fetch --kubernetes-version {}", state.spec.kubernetes_version))
    })?;
    let path = app.store.paths().cluster(cluster).join("kubeconfig");
    Kubeconfig::new(vec![path.clone()]).merge(&kubeconfig_entry(cluster, &app.access(&state)?), false)?;
    Ok(Kubectl { program: artifacts.kubectl, kubeconfig: path })
}

/// Replaces kcl by this program, with the cluster as its only one, so that signals, the terminal and the exit code are
/// the program's. Returns only if that fails.
pub fn become_client(program: &Path, arguments: &[OsString], kubeconfig: &Path) -> Error {
    let error = Command::new(program).args(arguments).env("KUBECONFIG", kubeconfig).exec();
    Error::new(Family::Artifact, format!("{} does not run: {error}", program.display()))
        .hint("if it is damaged, recreate it with: kcl artifacts fetch --verify")
}

/// Returns the entry of a cluster in a kubeconfig.
pub fn kubeconfig_entry<'a>(cluster: &'a str, access: &'a Access) -> Entry<'a> {
    Entry {
        profile: cluster,
        server: &access.server,
        ca_pem: &access.credentials.ca_pem,
        cert_pem: &access.credentials.cert_pem,
        key_pem: &access.credentials.key_pem,
    }
}
