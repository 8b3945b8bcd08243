//! The members of etcd in a cluster that exists: they are added before the machines of further control planes run, get their
//! vote once they have caught up, and leave before their machines do.

use kcl_driver_api::{Driver, Exec, Power, Stdout};
use kcl_node_spec::{MemberStatus, Role, paths};

use super::Bootstrap;
use crate::error::{Error, Id, Result};
use crate::plan::{Action, Made, NodePlan};
use crate::state::{ClusterState, NodePhase, NodeRecord};

/// Returns the control planes of a wave that join others.
pub(super) fn joining<'a>(bootstrap: &Bootstrap<'_>, wave: &'a [NodePlan]) -> Vec<&'a NodePlan> {
    let joins = |node: &&NodePlan| node.role == Role::ControlPlane && bootstrap.joins(&node.name);
    wave.iter().filter(joins).collect()
}

/// Adds those that join and have no data yet as members without a vote. The others have to serve.
pub(super) async fn add(bootstrap: &Bootstrap<'_>, joining: &[&NodePlan]) -> Result<()> {
    let new = joining.iter().filter(|node| matches!(node.action, Action::Create | Action::Replace));
    let new: Vec<String> = new.map(|node| argument(&node.name, &node.address.primary())).collect();
    if joining.is_empty() {
        return Ok(());
    }
    let voter = voter(bootstrap.driver, bootstrap.state, None).await?;
    let machine = bootstrap.driver.machine(&bootstrap.plan.cluster, &voter.machine).await?;
    let output = machine.exec(Exec::new([paths::AGENT, "wait", "api"])).await?;
    if output.code != 0 {
        let subject = format!("the control plane on {}", voter.name);
        return Err(super::ready::does_not_come_up(bootstrap, &voter.machine, &subject, &output.stderr));
    }
    if !new.is_empty() {
        bootstrap.journal.record(Made::Members { machine: voter.machine.clone(), members: new.clone() });
        ask(bootstrap.driver, bootstrap.state, voter, "add", &new).await?;
    }
    Ok(())
}

/// Gives those that have joined their vote, as soon as they have caught up.
pub(super) async fn promote(bootstrap: &Bootstrap<'_>, joining: &[&NodePlan]) -> Result<()> {
    let names: Vec<String> = joining.iter().map(|node| node.name.clone()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let voter = voter(bootstrap.driver, bootstrap.state, None).await?;
    ask(bootstrap.driver, bootstrap.state, voter, "promote", &names).await.map(drop)
}

/// Takes the member of a node out of etcd, by another one; nothing is left to do on a worker.
///
/// # Errors
/// No other member runs, or too few to agree.
pub async fn remove(driver: &dyn Driver, state: &ClusterState, record: &NodeRecord) -> Result<()> {
    if record.role != Role::ControlPlane {
        return Ok(());
    }
    let voter = voter(driver, state, Some(&record.name)).await?;
    let member = argument(&record.name, &record.address.primary());
    ask(driver, state, voter, "remove", &[member]).await.map(drop)
}

/// Returns the members of etcd as those that run see them.
///
/// # Errors
/// No member runs, or etcd does not answer.
pub async fn list(driver: &dyn Driver, state: &ClusterState) -> Result<Vec<MemberStatus>> {
    let voter = voter(driver, state, None).await?;
    let said = ask(driver, state, voter, "list", &[]).await?;
    serde_json::from_slice(&said).map_err(|error| {
        Error::new(Id::NodeFailed, format!("{} lists the members of etcd wrongly: {error}", voter.name))
    })
}

/// Returns a control plane that runs and has a vote, other than one that leaves.
async fn voter<'a>(driver: &dyn Driver, state: &'a ClusterState, without: Option<&str>) -> Result<&'a NodeRecord> {
    let machines = driver.list(Some(&state.spec.name)).await?;
    let runs = |node: &&NodeRecord| {
        machines.iter().any(|machine| machine.name == node.machine && machine.power == Power::Running)
    };
    let others = state.control_planes().filter(|node| Some(node.name.as_str()) != without);
    let mut voters = others.filter(|node| node.phase != NodePhase::Joining);
    voters.find(runs).ok_or_else(|| {
        let name = &state.spec.name;
        Error::new(Id::ClusterFailed, format!("no other control plane of the cluster \"{name}\" runs"))
            .hint(format!("start them with: kcl start -p {name}"))
    })
}

fn argument(name: &str, address: &std::net::IpAddr) -> String {
    format!("{name}={address}")
}

async fn ask(
    driver: &dyn Driver,
    state: &ClusterState,
    voter: &NodeRecord,
    verb: &str,
    words: &[String],
) -> Result<Vec<u8>> {
    let machine = driver.machine(&state.spec.name, &voter.machine).await?;
    let command = [paths::AGENT, "etcd", verb].into_iter().chain(words.iter().map(String::as_str));
    let output = machine.exec(Exec { stdout: Stdout::Capture, ..Exec::new(command) }).await?;
    if output.code == 0 {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = format!("the members of etcd could not be changed on {}: {}", voter.name, said.trim_end());
    Err(Error::new(Id::NodeFailed, message))
}
