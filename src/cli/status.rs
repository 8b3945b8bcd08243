//! `kcl status`

use std::process::ExitCode;

use super::output::{self, Output};
use crate::app::App;
use crate::cluster::{self, Bits};
use crate::error::Result;

/// The options of `status`.
#[derive(clap::Args)]
#[command(
    after_help = "Exit code: the sum of 1 (a host is not running), 2 (a component of the cluster is not running) \
                        and 4 (the kubeconfig is not set up); 7 if the cluster does not exist."
)]
pub(super) struct Args {
    /// The format of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Prints the status of the nodes.
pub(super) async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    let nodes = cluster::status(app, profile).await?;
    match (args.output, nodes.as_slice()) {
        // One node is an object and several are an array, as in minikube.
        (Output::Json, [node]) => output::json(node)?,
        (Output::Json, nodes) => output::json(&nodes)?,
        (Output::Text, []) => eprintln!("There is no cluster \"{profile}\"; create it with: kcl start -p {profile}"),
        (Output::Text, nodes) if nodes.iter().any(|node| node.etcd.is_some()) => output::table(
            ["NAME", "HOST", "KUBELET", "APISERVER", "ETCD", "KUBECONFIG"],
            nodes.iter().map(|node| {
                let etcd = node.etcd.clone().unwrap_or_default();
                let [name, host, kubelet, api_server, kubeconfig] =
                    [&node.name, &node.host, &node.kubelet, &node.api_server, &node.kubeconfig].map(Clone::clone);
                [name, host, kubelet, api_server, etcd, kubeconfig]
            }),
        ),
        (Output::Text, nodes) => output::table(
            ["NAME", "HOST", "KUBELET", "APISERVER", "KUBECONFIG"],
            nodes.iter().map(|node| {
                [&node.name, &node.host, &node.kubelet, &node.api_server, &node.kubeconfig].map(Clone::clone)
            }),
        ),
    }
    for node in &nodes {
        for failing in &node.failing {
            let name = &node.name;
            app.progress.warn(format!("{failing} on {name}; kcl start -p {profile} shows the reason"));
        }
    }
    Ok(ExitCode::from(Bits::of(&nodes).0))
}
