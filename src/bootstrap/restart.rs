//! Restarts of running nodes whose configuration changes: one node after the other, while the rest serves.

use std::time::Duration;

use jiff::Timestamp;
use kcl_driver_api::{Link, Network};
use kcl_node_spec::Role;
use kube::Client;
use tokio::time::timeout;

use super::node::{lasting, node_spec};
use super::{Bootstrap, Machines, Resolvers, control_plane, machines, ready};
use crate::error::{Error, Id, Result};
use crate::kubernetes::{self, Fresh};
use crate::state::{ClusterState, NodeRecord};

/// The longest time that the pods of a restarted node are waited for before the next node is restarted.
const PATIENCE: Duration = Duration::from_secs(120);

/// Restarts the nodes of a start that have to be, each once the one before serves as it did. Returns an error if the
/// restarts end early because pods do not come back.
///
/// # Errors
/// A node does not come up with its new configuration.
pub(super) async fn one_by_one(
    bootstrap: &Bootstrap<'_>,
    client: &Client,
    machines: &mut Machines,
) -> Result<Option<Error>> {
    let names = std::mem::take(&mut machines.restarts);
    if names.is_empty() {
        return Ok(None);
    }
    let all = names.join(", ");
    bootstrap.progress.warn(match names.len() {
        1 => format!("{all} is restarted with its new configuration"),
        _ => format!("nodes are restarted with their new configuration, one at a time: {all}"),
    });
    for (index, name) in names.iter().enumerate() {
        let title = format!("Restarting {name} ({} of {})", index + 1, names.len());
        let step = bootstrap.progress.step("restart", title);
        let pods = kubernetes::ready_pods(client, name).await;
        let fresh = Fresh::new(vec![name.clone()], Timestamp::now());
        let configured = machines::restart(bootstrap, name).await?;
        if let Some(record) = bootstrap.state.node(name).filter(|record| record.role == Role::ControlPlane) {
            control_plane::wait(bootstrap, client).await?;
            // Others serve meanwhile, and the next one may only go once this one has caught up.
            let machine = bootstrap.driver.machine(&bootstrap.plan.cluster, &record.machine).await?;
            if let Some(error) = ready::wrong(bootstrap, machine.as_ref()).await? {
                return Err(error);
            }
        }
        ready::node(bootstrap, client, name, &fresh).await?;
        machines.started.push(name.clone());
        machines.configured.insert(name.clone(), configured);
        let back = timeout(PATIENCE, kubernetes::pods_ready_again(client, name, &pods, fresh.since)).await;
        step.finish(format!("{name} has been restarted"));
        let left = &names[index + 1..];
        if back.is_err() && !left.is_empty() {
            let message = format!("pods on {name} are not ready again after its restart");
            return Ok(Some(
                Error::new(Id::NodeNotRestarted, message)
                    .hint(format!(
                        "look at them with: kcl kubectl -- get pods -A --field-selector spec.nodeName={name}"
                    ))
                    .hint(format!("then restart the others ({}) with another: kcl start", left.join(", "))),
            ));
        }
    }
    Ok(None)
}

/// Returns the nodes whose configuration differs between two states of a cluster, so that a start restarts those that run.
pub fn changed(before: &ClusterState, after: &ClusterState) -> Vec<String> {
    let differs = |new: &NodeRecord| before.node(&new.name).is_some_and(|old| look(before, old) != look(after, new));
    after.nodes.iter().filter(|node| differs(node)).map(|node| node.name.clone()).collect()
}

/// Returns all settings of a node that it reads when it starts.
fn look(state: &ClusterState, record: &NodeRecord) -> Option<serde_json::Value> {
    // The same in both: only what the user sets is compared.
    let link =
        Link { interface: String::new(), subnet: state.subnet, gateway: None, mtu: 0, host: None, masquerades: false };
    let network = Network { subnet: state.subnet, host: None, bridge: None, link, links: Default::default() };
    let resolvers = Resolvers::default();
    let mut spec = lasting(node_spec(state, record, &network, &resolvers, true));
    // Made from the time of the cluster's creation.
    spec.network.vni = 0;
    serde_json::to_value(spec).ok()
}
