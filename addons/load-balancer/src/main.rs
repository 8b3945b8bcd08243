//! The load balancer of kcl's clusters: a Service of type LoadBalancer gets an address of the node network, and a node
//! answers for it. kube-proxy does the rest: it serves the addresses in a Service's status on every node.
//!
//! One program has two roles. The [`controller`], one in a cluster, allocates addresses and chooses the node for each;
//! a [`speaker`] on each node makes the node answer. They communicate through the Services alone: the address is in the
//! status, the node in an annotation. Neither has state of its own.
//!
//! A third role, [`claims`], belongs to the addon storage, which has no program of its own.

mod allocate;
mod announce;
mod cache;
mod claims;
mod controller;
mod decide;
mod error;
mod objects;
mod on_nodes;
mod pool;
mod probe;
mod report;
mod settings;
mod speaker;
#[cfg(test)]
mod testing;
mod withdrawal;

use std::process::ExitCode;

use kube::{Client, Config};

use error::Result;
use settings::Role;

fn main() -> ExitCode {
    // One thread is enough, and each further one would cost memory on every node.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the kernel provides epoll");
    match runtime.block_on(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let role = settings::role(std::env::args().nth(1).as_deref())?;
    // Fails only if a provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::try_from(Config::incluster()?)?;
    match role {
        Role::Controller => controller::run(client, settings::Controller::from_env()?).await,
        Role::Speaker => speaker::run(client, settings::Speaker::from_env()?).await,
        Role::Claims => claims::run(client, &settings::provisioner()?).await,
    }
}
