//! Clusters for integration tests, which end with the test's process, even if it is killed.
//!
//! ```no_run
//! # async fn a_test() -> kcl::error::Result<()> {
//! use kcl::testing::Cluster;
//! use kcl::testing::k8s_openapi::api::core::v1::Node;
//! use kcl::testing::kube::Api;
//!
//! let cluster = Cluster::start().await?;            // a fresh one; deleted when it is dropped
//! let nodes: Api<Node> = Api::all(cluster.client()?);
//!
//! let cluster = Cluster::shared().await?;           // one for all tests of this process
//! let namespace = cluster.namespace().await?;       // a fresh one; deleted when it is dropped
//! # Ok(()) }
//! ```
//!
//! The command is `kcl` in `PATH`, or the file in the variable `KCL`. The user's kubeconfig is not changed.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use k8s_openapi::api::core::v1::Namespace as NamespaceObject;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::Value;
use tokio::sync::OnceCell;

pub use {k8s_openapi, kube};

use crate::cluster::fresh_name;
use crate::error::{Error, Id, Result};
use crate::kubernetes;
use crate::state::Paths;

/// A running cluster of a test. Dropping it deletes it, which takes about a second.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    /// Its kubeconfig, which is deleted with its other files.
    kubeconfig: PathBuf,
}

/// A namespace of a test. Dropping it starts its deletion.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    kubeconfig: PathBuf,
}

impl Cluster {
    /// Starts a new cluster of one node.
    ///
    /// # Errors
    /// Fails if it does not start; the id and the message are kcl's.
    pub async fn start() -> Result<Self> {
        Cluster::start_with([""; 0]).await
    }

    /// Starts a new cluster with these flags of `kcl start`: `["--nodes", "3", "--addons", "ingress"]`.
    ///
    /// # Errors
    /// Fails as [`Cluster::start`] does.
    pub async fn start_with(flags: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Self> {
        let name = fresh_name("test");
        let kubeconfig = Paths::from_env()?.cluster(&name).join("kubeconfig");
        // It exists before its cluster does: a test that is cancelled during the start drops it too.
        let cluster = Cluster { name, kubeconfig };
        let process = std::process::id().to_string();
        let mut start =
            tokio::process::Command::from(cluster.kcl(["start", "-o", "json", "--until-exit-of", &process]));
        start.args(flags).kill_on_drop(true);
        let output = start.stdin(Stdio::null()).output().await.map_err(|error| missing(&error))?;
        if output.status.success() {
            return Ok(cluster);
        }
        Err(failed(&output))
    }

    /// Returns the cluster that all tests of this process share. The first one creates it, and it is deleted when the
    /// process has ended. Tests that must not meet use a [`Cluster::namespace`] each.
    ///
    /// # Errors
    /// Fails as [`Cluster::start`] does.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED.get_or_try_init(Cluster::start).await
    }

    /// Returns its name, for `kcl -p`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the path of a kubeconfig that holds this cluster alone.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// Returns a client with all rights. It belongs to the current runtime, so to one test.
    ///
    /// # Errors
    /// Fails if the kubeconfig is missing.
    pub fn client(&self) -> Result<Client> {
        client(&self.kubeconfig())
    }

    /// Creates a namespace, in which pods can be created at once.
    ///
    /// # Errors
    /// Fails if the API rejects it.
    pub async fn namespace(&self) -> Result<Namespace> {
        let client = self.client()?;
        let name = fresh_name("test");
        let object = NamespaceObject {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            ..NamespaceObject::default()
        };
        Api::all(client.clone()).create(&PostParams::default(), &object).await.map_err(|error| {
            Error::new(Id::ApiFailed, format!("the namespace {name} cannot be made: {error}")).source(error)
        })?;
        let namespace = Namespace { name, kubeconfig: self.kubeconfig() };
        kubernetes::default_service_account(&client, &namespace.name).await?;
        Ok(namespace)
    }

    /// Returns a command of kcl for this cluster.
    pub fn kcl(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> std::process::Command {
        let program = std::env::var_os("KCL").unwrap_or_else(|| OsString::from("kcl"));
        let mut command = std::process::Command::new(program);
        command.args(["-p", &self.name]).args(arguments).env("KUBECONFIG", self.kubeconfig());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        match self.kcl(["delete"]).stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => eprintln!("{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => eprintln!("{}", missing(&error)),
        }
    }
}

impl Namespace {
    /// Returns the name of the namespace.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let (kubeconfig, name) = (self.kubeconfig.clone(), self.name.clone());
        // It has a runtime of its own, as the test's may be about to end.
        let delete = move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let failed =
                |error: &dyn std::fmt::Display| Error::new(Id::ApiFailed, format!("namespace {name}: {error}"));
            runtime.map_err(|error| failed(&error))?.block_on(async {
                let api: Api<NamespaceObject> = Api::all(client(&kubeconfig)?);
                api.delete(&name, &DeleteParams::default()).await.map(drop).map_err(|error| failed(&error))
            })
        };
        if let Ok(Err(error)) = std::thread::spawn(delete).join() {
            eprintln!("{error}");
        }
    }
}

fn client(kubeconfig: &Path) -> Result<Client> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::new(Id::KubeconfigUnusable, format!("the test's kubeconfig {}: {error}", kubeconfig.display()))
    };
    // All crates use one crypto backend; a second call finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let read = Kubeconfig::read_from(kubeconfig).map_err(|error| failed(&error))?;
    // Nothing in it has to be awaited.
    let config = futures::executor::block_on(Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()));
    Client::try_from(config.map_err(|error| failed(&error))?).map_err(|error| failed(&error))
}

/// Returns the error of a kcl that failed, by its last event.
fn failed(output: &Output) -> Error {
    let events = String::from_utf8_lossy(&output.stdout);
    let last = events.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok()).unwrap_or_default();
    let text = |key: &str| last["data"][key].as_str().unwrap_or_default();
    let said = [text("message"), &String::from_utf8_lossy(&output.stderr)].join("\n");
    let message = format!("the cluster for the test does not start:\n{}", said.trim());
    let error = Error::new(Id::parse(text("id")).unwrap_or(Id::ClusterFailed), message);
    text("advice").lines().fold(error, Error::hint)
}

fn missing(error: &std::io::Error) -> Error {
    Error::new(Id::HostFailed, format!("the command kcl cannot be run: {error}"))
        .hint("put it on the PATH, or name it in the variable KCL")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn the_error_is_that_of_the_last_event() {
        let events = concat!(
            r#"{"type": "io.k8s.sigs.kcl.step", "data": {"message": "Starting"}}"#,
            "\n",
            r#"{"type": "io.k8s.sigs.kcl.error", "data": {"id": "port.taken", "message": "it is used", "advice": "a\nb"}}"#,
            "\n",
        );
        let output =
            |text: &str| Output { status: ExitStatus::from_raw(256), stdout: text.into(), stderr: b"killed\n".into() };
        let error = failed(&output(events));
        assert_eq!(error.id, Id::PortTaken);
        assert_eq!(error.message, "the cluster for the test does not start:\nit is used\nkilled");
        assert_eq!(error.hints, ["a", "b"]);
        assert_eq!(failed(&output("")).id, Id::ClusterFailed);
    }
}
