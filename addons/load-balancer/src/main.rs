//! The load balancer of kcl's clusters: a Service of type LoadBalancer gets an address of the node network, and a node
//! answers for it. From there on it is kube-proxy's: it serves the addresses in a Service's status on every node.
//!
//! One program with two roles. The [`controller`], one in a cluster, gives out addresses and chooses the node for each;
//! a [`speaker`] on each node has the node answer. Between them is nothing but the Services: the address is in the
//! status, the node in an annotation. Neither keeps a state of its own.

mod addresses;
mod allocate;
mod announce;
mod arp;
mod cache;
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
    // One thread: there is little to do, and each further one would cost memory on every node.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the kernel gives the process a way to wait");
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
    // Only fails where there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::try_from(Config::incluster()?)?;
    match role {
        Role::Controller => controller::run(client, settings::Controller::from_env()?).await,
        Role::Speaker => speaker::run(client, settings::Speaker::from_env()?).await,
    }
}
