//! The engine that makes NetworkPolicies hold on a node, and the plugin by which the container network waits for it.
//!
//! One program, as both are on every node: the container runtime calls it as a plugin, with the variables of the Container
//! Network Interface; the node agent runs it as a component.

mod claims;
mod cni;
mod engine;
mod error;
mod nft;
mod protocol;
mod server;
mod watch;

use std::path::Path;
use std::process::ExitCode;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::task::LocalSet;

use error::{Doing, Error, Result};

const USAGE: &str = "usage: kcl-policy NODE KUBECONFIG";

fn main() -> ExitCode {
    if let Ok(command) = std::env::var(cni::COMMAND) {
        return cni::main(&command);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [node, kubeconfig] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // One thread is enough, and each further one would cost memory on every node.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the kernel provides epoll");
    match LocalSet::new().block_on(&runtime, run(node, Path::new(kubeconfig))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(node: &str, kubeconfig: &Path) -> Result<()> {
    // Fails only if a provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let requests = server::listen()?;
    let client = Client::try_from(configuration(kubeconfig).await?)?;
    server::notify()?;
    engine::run(node, client, requests).await
}

/// Reads a kubeconfig that kcl wrote: JSON, with the certificates in it.
async fn configuration(path: &Path) -> Result<Config> {
    let wrong = |error: &dyn std::fmt::Display| Error::Invalid(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).doing(|| format!("read {}", path.display()))?;
    let kubeconfig: Kubeconfig = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| wrong(&error))?;
    // Watches are quiet for as long as nothing changes.
    config.read_timeout = None;
    Ok(config)
}
