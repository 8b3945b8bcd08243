//! The kubectl of a cluster's version, and a kubeconfig of kcl's own for it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kcl_driver_local::process::with_users_umask;
use tokio::net::TcpStream;

use super::background::renewal;
use super::nodes::machine;
use super::{drivers, proxy};
use crate::app::App;
use crate::error::{Error, Id, Result};
use crate::kubeconfig::{Entry, Kubeconfig};
use crate::kubernetes::Access;

/// A kubectl for one cluster.
pub struct Kubectl {
    /// The path of the program.
    pub program: PathBuf,
    /// A kubeconfig with only this cluster: the user's own may have lost it, or belong to another user.
    pub kubeconfig: PathBuf,
    /// The variables by which programs reach the cluster, that kubeconfig among them.
    pub environment: Vec<(&'static str, OsString)>,
}

/// Returns a kubectl for a cluster, and writes its kubeconfig.
pub fn kubectl(app: &App, cluster: &str) -> Result<Kubectl> {
    let state = app.existing(cluster)?;
    let artifacts = drivers::cached(app, &state.spec)?.ok_or_else(|| {
        Error::new(Id::ProgramUnusable, format!("kubectl {} is not in the cache", state.spec.kubernetes_version))
            .hint(format!("get it with: kcl artifacts fetch --kubernetes-version {}", state.spec.kubernetes_version))
    })?;
    let path = app.store.paths().cluster(cluster).join("kubeconfig");
    Kubeconfig::new(vec![path.clone()]).merge(&kubeconfig_entry(cluster, &app.access(&state)?), false)?;
    let mut environment = proxy::around(&state)?;
    environment.push(("KUBECONFIG", path.clone().into()));
    if let Err(error) = renewal::follow(app, &state) {
        app.progress.warn(error.to_string());
    }
    Ok(Kubectl { program: artifacts.kubectl, kubeconfig: path, environment })
}

/// Fails if a program with these arguments needs the cluster, as its verb is not in `local`, and the cluster does not run:
/// the program would try for long, and say less.
///
/// # Errors
/// `NotFound` if the control plane does not run.
pub async fn needs_cluster(app: &App, cluster: &str, arguments: &[OsString], local: &[&str]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let verb = words.first().copied().unwrap_or("help");
    if local.contains(&verb) || words.iter().any(|word| ["--help", "-h", "--dry-run=client"].contains(word)) {
        return Ok(());
    }
    let endpoint = app.existing(cluster)?.endpoint()?;
    tokio::select! {
        // A driver may take longer to answer than the API server itself.
        Ok(_) = TcpStream::connect(endpoint) => Ok(()),
        found = machine(app, cluster, None) => found.map(drop),
    }
}

/// Replaces kcl by this program, with the cluster as its only one, so that signals, the terminal and the exit code are
/// the program's. Returns only if that fails.
pub fn become_client(program: &Path, arguments: &[OsString], client: &Kubectl) -> Error {
    let mut command = Command::new(program);
    let error = with_users_umask(command.args(arguments).envs(client.environment.iter().cloned())).exec();
    Error::new(Id::ProgramUnusable, format!("{} does not run: {error}", program.display()))
        .hint("if it is damaged, recreate it with: kcl artifacts fetch --verify")
}

/// Writes a cluster into the user's kubeconfig and returns the file; warns if others may read it.
pub fn point_kubectl(app: &App, cluster: &str, access: &Access, keep_context: bool) -> Result<PathBuf> {
    let file = Kubeconfig::from_env()?.merge(&kubeconfig_entry(cluster, access), keep_context)?;
    if let Some(mode) = Kubeconfig::open_mode(&file) {
        let file = file.display();
        app.progress.warn(format!(
            "{file} has the mode {mode:o}: others can read the key of the cluster's administrator in it; close it with: \
             chmod 600 {file}"
        ));
    }
    Ok(file)
}

/// Returns the entry of a cluster in a kubeconfig.
fn kubeconfig_entry<'a>(cluster: &'a str, access: &'a Access) -> Entry<'a> {
    Entry {
        profile: cluster,
        server: &access.server,
        ca_pem: &access.credentials.ca_pem,
        cert_pem: &access.credentials.cert_pem,
        key_pem: &access.credentials.key_pem,
    }
}
