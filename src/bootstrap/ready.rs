//! The last phase of a start: waiting until the cluster is ready.

use std::time::Duration;

use futures::StreamExt;
use futures::future::{join_all, try_join, try_join_all};
use futures::stream::FuturesUnordered;
use kcl_driver_api::{Exec, Machine};
use kcl_node_spec::{ComponentState, NodeStatus, Role, paths};
use kube::Client;

use super::{Bootstrap, Wait, damage};
use crate::error::{Error, Id, Result};
use crate::kubernetes::{self, Fresh};
use crate::state::NodeRecord;

/// The time after which a wait is unusually long, so that the nodes are asked for the reason.
const USUAL: Duration = Duration::from_secs(5);

/// Waits until the cluster is in the state that `--wait` names.
pub(super) async fn wait(bootstrap: &Bootstrap<'_>, client: &Client, names: &[String], fresh: &Fresh) -> Result<()> {
    if bootstrap.wait == Wait::Api || names.is_empty() {
        return Ok(());
    }
    let step = bootstrap.progress.step("ready", "Waiting for nodes and DNS");
    let total = names.len();
    let mut shown = None;
    let reported = kubernetes::nodes_ready(client, names, fresh, |ready| {
        if shown != Some(ready) {
            shown = Some(ready);
            step.position("nodes ready", ready as u64, total as u64);
        }
    });
    let nodes = async { try_join(reported, components_run(bootstrap, names, fresh)).await.map(|_| ()) };
    let all = async {
        if bootstrap.wait == Wait::Nodes {
            return nodes.await;
        }
        let pods =
            try_join(kubernetes::dns_available(client, fresh), kubernetes::default_service_account(client, "default"));
        try_join(nodes, pods).await.map(|_| ())
    };
    tokio::select! {
        result = all => result?,
        error = hopeless(bootstrap, names) => return Err(error),
    }
    step.finish(match total {
        1 => "The node is ready".to_owned(),
        total => format!("{total} nodes are ready"),
    });
    Ok(())
}

/// Waits until the components run on nodes that this start did not start, as for up to a minute their Node objects have the
/// last report of a kubelet that has ended; and on each of several control planes, as until then the cluster cannot be without
/// another one.
async fn components_run(bootstrap: &Bootstrap<'_>, names: &[String], fresh: &Fresh) -> Result<()> {
    let several = bootstrap.state.control_planes().count() > 1;
    let doubtful =
        |node: &&NodeRecord| !fresh.started.contains(&node.name) || (several && node.role == Role::ControlPlane);
    let nodes = bootstrap.state.nodes.iter().filter(|node| names.contains(&node.name)).filter(doubtful);
    let failed = join_all(nodes.map(|node| fails(bootstrap, &node.machine))).await;
    failed.into_iter().flatten().next().map_or(Ok(()), Err)
}

/// Waits until one node is ready.
pub(super) async fn node(bootstrap: &Bootstrap<'_>, client: &Client, name: &str, fresh: &Fresh) -> Result<()> {
    let names = [name.to_owned()];
    tokio::select! {
        result = kubernetes::nodes_ready(client, &names, fresh, |_| {}) => result,
        error = hopeless(bootstrap, &names) => Err(error),
    }
}

/// Returns an error once a component of a node fails again and again, which the node's agent knows long before the
/// user's timeout. The agents are asked only if the wait takes longer than usual, so that a normal start stays fast.
async fn hopeless(bootstrap: &Bootstrap<'_>, names: &[String]) -> Error {
    tokio::time::sleep(USUAL).await;
    let nodes = bootstrap.state.nodes.iter().filter(|node| names.contains(&node.name));
    let mut looks: FuturesUnordered<_> = nodes.map(|node| fails(bootstrap, &node.machine)).collect();
    while let Some(found) = looks.next().await {
        if let Some(said) = found {
            return said;
        }
    }
    // All components run: either the cluster gets ready, or the user's timeout passes.
    std::future::pending().await
}

/// Does the same as [`wrong`] for a node by its name; returns none if the node cannot be asked.
async fn fails(bootstrap: &Bootstrap<'_>, node: &str) -> Option<Error> {
    let machine = bootstrap.driver.machine(&bootstrap.state.spec.name, node).await.ok()?;
    wrong(bootstrap, machine.as_ref()).await.ok()?
}

/// Waits until all components of a node run, or returns the reason why they will not.
pub(super) async fn wrong(bootstrap: &Bootstrap<'_>, machine: &dyn Machine) -> Result<Option<Error>> {
    let limit = bootstrap.wait_timeout.as_secs().saturating_add(1).to_string();
    let output = machine.exec(Exec::new([paths::AGENT, "wait", "running", "--timeout", &limit])).await?;
    let name = machine.name();
    let why = || does_not_come_up(bootstrap, name, &format!("node {name}"), &output.stderr);
    Ok((output.code != 0).then(why))
}

/// Lists the components that are not ready with their nodes, as far as the agents report them.
pub(super) async fn missing(bootstrap: &Bootstrap<'_>) -> Vec<String> {
    let looks = bootstrap.state.nodes.iter().map(|node| async {
        let machine = bootstrap.driver.machine(&bootstrap.state.spec.name, &node.machine).await?;
        let output = machine.exec(Exec::new([paths::AGENT, "status"])).await?;
        let status: Option<NodeStatus> = serde_json::from_slice(&output.stdout).ok();
        Ok::<_, kcl_driver_api::Error>(status.map(|status| not_ready(&status)).unwrap_or_default())
    });
    try_join_all(looks).await.map(|found| found.concat()).unwrap_or_default()
}

/// Returns the error for a start that exceeds the user's timeout.
pub(super) fn timed_out(missing: &[String], seconds: u64) -> Error {
    let mut message = format!("the cluster was not ready within {seconds} s (--wait-timeout)");
    if !missing.is_empty() {
        message.push_str(&format!("; not ready: {}", missing.join(", ")));
    }
    Error::new(Id::ClusterNotReady, message)
        .hint("with --keep the cluster is left for a look: kcl status, kcl logs, kcl ssh")
}

fn not_ready(status: &NodeStatus) -> Vec<String> {
    let components = status.components.iter().filter(|component| component.state != ComponentState::Ready);
    components.map(|component| format!("{} on {}", component.name, status.name)).collect()
}

/// Makes the error for components of a machine that fail again and again, from the output of the node's agent.
pub(super) fn does_not_come_up(bootstrap: &Bootstrap<'_>, machine: &str, subject: &str, output: &[u8]) -> Error {
    let output = String::from_utf8_lossy(output);
    let message = format!("{subject} does not come up:\n{}", output.trim_end());
    let node = bootstrap.state.nodes.iter().find(|node| node.machine == machine);
    if let (Some(store), Some(node)) = (damage::of(&output), node) {
        return damage::error(message, store, &bootstrap.state.spec.name, node);
    }
    Error::new(Id::NodeFailed, message)
        .hint("flags from --extra-config and --feature-gates are the usual cause")
        .hint("with --keep the cluster is left as it is, to look into: kcl logs, kcl ssh")
}
