//! `kcl image env`: for tools of this host that talk to an engine, as nerdctl, ctr, crictl and buildctl do. A command
//! runs with variables that point to a node's engine, through sockets that exist as long as the command runs.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use kcl_driver_api::Machine;

use super::build::SOCKET as BUILDKIT;
use super::machines;
use crate::app::App;
use crate::cluster::interrupt::interruptible;
use crate::error::{Error, Id, Result};
use crate::images::containerd::SOCKET as CONTAINERD;
use crate::images::forward::Forward;

/// Runs a command with the variables for a node, or for the first one. Returns the command's exit status.
pub async fn image_env(app: &App, cluster: &str, node: Option<&str>, command: &[String]) -> Result<ExitStatus> {
    let names: Vec<String> = node.map(str::to_owned).into_iter().collect();
    let machine: Arc<dyn Machine> = Arc::from(machines(app, cluster, &names).await?.remove(0));
    let failed = |error: std::io::Error| Error::new(Id::FileUnwritable, format!("sockets cannot be made: {error}"));
    let directory = tempfile::Builder::new().prefix("kcl-").tempdir().map_err(failed)?;
    let containerd = Forward::open(&directory.path().join("containerd.sock"), machine.clone(), CONTAINERD)?;
    let buildkit = Forward::open(&directory.path().join("buildkit.sock"), machine, BUILDKIT)?;
    let variables = [
        ("CONTAINERD_ADDRESS", containerd.url().trim_start_matches("unix://").to_owned()),
        ("CONTAINERD_NAMESPACE", "k8s.io".to_owned()),
        ("CONTAINER_RUNTIME_ENDPOINT", containerd.url()),
        ("IMAGE_SERVICE_ENDPOINT", containerd.url()),
        ("BUILDKIT_HOST", buildkit.url()),
    ];
    let (program, arguments) = match command {
        [program, arguments @ ..] => (program.clone(), arguments),
        [] => (std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned()), &[][..]),
    };
    let mut run = tokio::process::Command::new(&program);
    run.args(arguments).envs(variables).stdin(Stdio::inherit()).kill_on_drop(true);
    let work = async {
        run.status().await.map_err(|error| Error::new(Id::FlagInvalid, format!("{program} cannot be run: {error}")))
    };
    interruptible(work).await
}
