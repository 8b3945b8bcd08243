//! `node delete`: a node is emptied, leaves Kubernetes, and its machine goes.
//!
//! Its phase is in the state before anything changes, so that whichever kcl comes next finishes what one that was
//! interrupted began: `node delete` itself, or a `start`.

use std::time::Duration;

use kcl_driver_api::{Driver, Power};
use kcl_node_spec::Role;
use kube::Client;
use tokio::time::timeout;

use super::super::interrupt::interruptible;
use super::super::nodes;
use super::super::start::{Scope, StartOptions, locked};
use super::{client_of, open, runs};
use crate::app::App;
use crate::bootstrap::{self, Wait};
use crate::config::{Overrides, Source};
use crate::error::{Error, Id, Result};
use crate::kubernetes::{self, Drain};
use crate::plan::POWER_OFF_GRACE;
use crate::state::{ClusterLock, ClusterState, Departure, NodePhase, NodeRecord};

/// The longest time that addresses of load balancers take to move. It is milliseconds where the addon runs.
const HANDOVER: Duration = Duration::from_secs(5);

/// The way in which a node is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteNode {
    /// The way in which it is emptied.
    pub drain: Drain,
    /// Volumes that are on the node are deleted with it.
    pub delete_volumes: bool,
}

/// Deletes a node of a cluster that runs, or finishes deleting it.
///
/// # Errors
/// `NotFound` if the cluster does not have the node; `Usage` if the cluster cannot be without it; `Cluster` if it has pods
/// or volumes that would be lost; `Timeout` if its pods do not go. The node is as it was then.
pub async fn delete(app: &App, cluster: &str, node: &str, how: &DeleteNode) -> Result<()> {
    let (lock, state) = app.lock_existing(cluster).await?;
    let record = nodes::known(&state, node)?;
    let departure = match record.phase.departure() {
        Some(departure) if departure.drained => departure.clone(),
        _ => {
            may_leave(&state, record)?;
            Departure {
                force: how.drain.force,
                delete_volumes: how.delete_volumes,
                grace_period: how.drain.grace_period,
                timeout: how.drain.timeout,
                drained: false,
            }
        }
    };
    depart(app, node, departure, lock).await.map(drop)
}

/// Finishes the deletions that were interrupted. Returns what failed.
pub(crate) async fn finish(app: &App, mut lock: ClusterLock) -> Vec<Error> {
    loop {
        let next = app.store.load(lock.cluster()).map(|state| {
            let mut nodes = state.into_iter().flat_map(|state| state.nodes);
            nodes.find_map(|node| Some((node.name, node.phase.departure()?.clone())))
        });
        lock = match next {
            Ok(None) => return Vec::new(),
            Ok(Some((node, departure))) => match depart(app, &node, departure, lock).await {
                Ok(lock) => lock,
                Err(error) => return vec![error],
            },
            Err(error) => return vec![error],
        };
    }
}

/// Refuses to delete a node without which there is no cluster.
fn may_leave(state: &ClusterState, record: &NodeRecord) -> Result<()> {
    let (cluster, name) = (&state.spec.name, &record.name);
    let only = |what: &str| {
        Err(Error::new(Id::NodeIndispensable, format!("{name} is the only {what} of the cluster {cluster}"))
            .hint(format!("to delete the whole cluster: kcl delete -p {cluster}")))
    };
    if state.nodes.len() == 1 {
        return only("node");
    }
    if record.role == Role::ControlPlane && state.control_planes().count() == 1 {
        return only("control plane");
    }
    if state.api.is_some() && state.control_planes().next().is_some_and(|first| first.name == *name) {
        let message = format!("{name} publishes the port by which this host reaches the API of the cluster {cluster}");
        return Err(Error::new(Id::NodeIndispensable, message).hint("delete another control plane instead"));
    }
    // The drivers of the other nodes have joined the network of the first one.
    let kinds = state.spec.nodes.iter().filter_map(|node| Some((&node.name, state.spec.driver_of(node).ok()?)));
    let kinds: Vec<_> = kinds.collect();
    let own = kinds.iter().find(|(other, _)| *other == name).map(|(_, kind)| *kind);
    let alone = kinds.iter().filter(|(_, kind)| Some(*kind) == own).count() == 1;
    match own.filter(|own| alone && kinds.iter().all(|(_, kind)| own <= kind)) {
        Some(own) => Err(Error::new(
            Id::NodeIndispensable,
            format!("{name} is the only node of the driver {own}, whose network the other nodes of {cluster} are on"),
        )
        .hint("add another node of this driver first: kcl node add --driver DRIVER")),
        None => Ok(()),
    }
}

/// Carries a deletion out, from where it is.
async fn depart(app: &App, node: &str, mut departure: Departure, lock: ClusterLock) -> Result<ClusterLock> {
    let cluster = lock.cluster().to_owned();
    let (mut state, driver) = open(app, &cluster)?;
    let record = nodes::known(&state, node)?.clone();
    let client = client_of(app, &state).await?;
    let unfinished = |error: Error| {
        error
            .hint(format!("finish it with: kcl node delete -p {cluster} {node}"))
            .hint(format!("or, as long as it has pods, keep it with: kcl node uncordon -p {cluster} {node}"))
    };
    let step = app.progress.step("node", format!("Emptying {node}"));
    if !departure.drained {
        let resumed = record.phase.departure().is_some();
        let mut save = |phase: NodePhase| {
            state.set_node_phase(node, phase);
            app.store.save(&state)
        };
        save(NodePhase::Leaving(departure.clone()))?;
        let cordoned = kubernetes::node(&client, node).await?.is_some_and(|node| kubernetes::is_cordoned(&node));
        let running = runs(driver.as_ref(), &app.existing(&cluster)?, &record.machine).await?;
        match interruptible(empty(&client, node, &departure, running)).await {
            Ok(()) => {}
            Err(error) if error.id == Id::Interrupted => return Err(unfinished(error)),
            Err(error) => {
                kubernetes::reinstate(&client, node, cordoned && !resumed).await?;
                save(NodePhase::Member)?;
                return Err(error);
            }
        }
        departure.drained = true;
        save(NodePhase::Leaving(departure))?;
    }
    // A kubelet that runs would register its node again.
    let leave = async {
        bootstrap::members::remove(driver.as_ref(), &state, &record).await?;
        power_off(driver.as_ref(), &state, &record.machine).await?;
        bootstrap::forget_nodes(&client, &[node.to_owned()]).await
    };
    interruptible(leave).await.map_err(unfinished)?;
    step.finish(format!("{node} is empty and off"));
    // The machine goes, and the other nodes hear of it.
    let overrides = Overrides { profile: Some(cluster.clone()), ..Overrides::default() };
    let options = StartOptions { overrides, wait: Wait::Api, scope: Scope::None, ..StartOptions::default() };
    let source = Source::read(&options.overrides)?;
    let (outcome, lock) = locked(app, &options, &source, lock).await.map_err(unfinished)?;
    outcome.troubles.iter().for_each(|trouble| app.progress.trouble(trouble));
    app.progress.info(format!("The node {node} of \"{cluster}\" is deleted"));
    Ok(lock)
}

/// Empties a node: what it serves moves to other nodes.
async fn empty(client: &Client, node: &str, departure: &Departure, running: bool) -> Result<()> {
    if kubernetes::node(client, node).await?.is_none() {
        return Ok(());
    }
    kubernetes::retire(client, node).await?;
    let volumes = kubernetes::volumes_only_on(client, node).await?;
    if !volumes.is_empty() && !departure.delete_volumes {
        let list: Vec<String> = volumes.iter().map(ToString::to_string).collect();
        let message = format!("the node {node} has the data of these PersistentVolumes: {}", list.join(", "));
        return Err(Error::new(Id::NodeOccupied, message).hint("to lose it, add --delete-volumes"));
    }
    let Departure { force, grace_period, timeout: longest, .. } = departure.clone();
    match running {
        true => kubernetes::drain(client, node, &Drain { force, grace_period, timeout: longest }).await?,
        false => kubernetes::discard_pods(client, node, force).await?,
    }
    let deleted = timeout(longest, kubernetes::delete_volumes(client, &volumes)).await;
    deleted.unwrap_or_else(|_| {
        let message = format!("the PersistentVolumes of {node} are not deleted after {} s", longest.as_secs());
        Err(Error::new(Id::NodeNotEmptied, message))
    })?;
    // Without that the addresses move too, once the node is gone.
    let _ = timeout(HANDOVER, kubernetes::addresses_moved(client, node)).await;
    Ok(())
}

async fn power_off(driver: &dyn Driver, state: &ClusterState, machine: &str) -> Result<()> {
    let cluster = &state.spec.name;
    let machines = driver.list(Some(cluster)).await?;
    let on = |power| matches!(power, Power::Running | Power::Stopping);
    if machines.iter().any(|found| found.name == machine && on(found.power)) {
        driver.machine(cluster, machine).await?.power_off(POWER_OFF_GRACE).await?;
    }
    Ok(())
}
