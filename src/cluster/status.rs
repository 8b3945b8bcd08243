//! `status`: the status of a cluster, in minikube's words and exit code bits.

use futures::future::join_all;
use kcl_driver_api::{Driver, Exec, MachineInfo, Power};
use kcl_node_spec::{ComponentState, ComponentStatus, MemberStatus, NodeStatus, Role, paths};
use serde::Serialize;

use super::background::renewal;
use super::{certs, drivers, nodes};
use crate::app::App;
use crate::bootstrap;
use crate::error::Result;
use crate::kubeconfig::{Check, Kubeconfig};
use crate::state::{ClusterState, NodeRecord};

/// The status of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeState {
    /// The name of the node.
    pub name: String,
    /// The status of its machine: `Running`, `Stopping`, `Stopped`, `Broken` or `Nonexistent`.
    pub host: String,
    /// The status of the kubelet: `Running` or `Stopped`.
    pub kubelet: String,
    /// The status of the API server: `Running`, `Stopped`, or `Irrelevant` on a worker.
    #[serde(rename = "APIServer")]
    pub api_server: String,
    /// The status of the user's kubeconfig: `Configured`, `Misconfigured`, or `Irrelevant` on a worker.
    pub kubeconfig: String,
    /// The part of its member in etcd: `Leader`, `Member`, `Learner`, `Stopped`, or `Irrelevant` on a worker. None where
    /// there is one control plane, and so one member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd: Option<String>,
    /// The node is a worker.
    pub worker: bool,
    /// The components that fail again and again, with the end of their last process.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<String>,
}

/// The exit code of `status`: the sum of the bits of all problems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bits(pub u8);

impl Bits {
    /// A host does not run.
    pub const HOST: u8 = 1;
    /// A component of the cluster does not run.
    pub const CLUSTER: u8 = 2;
    /// The kubeconfig is not set up.
    pub const KUBECONFIG: u8 = 4;

    /// Returns the bits of some nodes; of none, all bits are set.
    pub fn of(nodes: &[NodeState]) -> Self {
        if nodes.is_empty() {
            return Bits(Bits::HOST | Bits::CLUSTER | Bits::KUBECONFIG);
        }
        let wrong = |state: &str| !matches!(state, "Running" | "Configured" | "Irrelevant");
        nodes.iter().fold(Bits(0), |Bits(bits), node| {
            let host = if wrong(&node.host) { Bits::HOST } else { 0 };
            let cluster = if wrong(&node.kubelet) || wrong(&node.api_server) { Bits::CLUSTER } else { 0 };
            let kubeconfig = if wrong(&node.kubeconfig) { Bits::KUBECONFIG } else { 0 };
            Bits(bits | host | cluster | kubeconfig)
        })
    }
}

/// Returns the status of a cluster's nodes; empty if the cluster does not exist.
pub async fn status(app: &App, cluster: &str) -> Result<Vec<NodeState>> {
    let Some(state) = app.store.load(cluster)? else { return Ok(Vec::new()) };
    let driver = drivers::driver_of(app, &state)?;
    let machines = driver.list(Some(cluster)).await?;
    let kubeconfig = kubeconfig_of(&state);
    // Those that nobody believes are the reason of all else, and the agent of a node cannot see it.
    let unbelieved = look_after(app, &state, &machines);
    let looks = state.nodes.iter().map(|node| {
        let power = machines.iter().find(|machine| machine.name == node.machine).map(|machine| machine.power);
        look(driver.as_ref(), cluster, node, power, kubeconfig)
    });
    let mut found = join_all(looks).await;
    if state.control_planes().count() > 1 {
        let members = members(app, driver.as_ref(), &state).await;
        for (node, record) in found.iter_mut().zip(&state.nodes) {
            node.etcd = Some(part(&members, record, &node.host).to_owned());
        }
    }
    if unbelieved {
        for node in &mut found {
            node.api_server = if node.worker { node.api_server.clone() } else { "Stopped".to_owned() };
        }
    }
    Ok(found)
}

/// Returns the members of etcd, and warns if too few of them run.
async fn members(app: &App, driver: &dyn Driver, state: &ClusterState) -> Vec<MemberStatus> {
    let Ok(members) = bootstrap::members::list(driver, state).await else { return Vec::new() };
    if !members.iter().any(|member| member.leader) {
        let voters = members.iter().filter(|member| !member.learner).count();
        app.progress.warn(format!(
            "etcd has no leader, so the API does not answer: {} of its {voters} members have to run; start them with: \
             kcl start -p {}",
            voters / 2 + 1,
            state.spec.name
        ));
    }
    members
}

/// Returns the word for the part of a node in etcd.
fn part(members: &[MemberStatus], record: &NodeRecord, host: &str) -> &'static str {
    let member = members.iter().find(|member| record.address.iter().any(|address| address == member.address));
    match member {
        _ if record.role == Role::Worker => "Irrelevant",
        Some(member) if host == "Running" => match member {
            MemberStatus { leader: true, .. } => "Leader",
            MemberStatus { learner: true, .. } => "Learner",
            MemberStatus { .. } => "Member",
        },
        _ => "Stopped",
    }
}

/// Warns of certificates that are not valid, and returns true if there are some. A cluster that runs is given a process that
/// renews those that are to be renewed soon.
fn look_after(app: &App, state: &ClusterState, machines: &[MachineInfo]) -> bool {
    let unbelieved = certs::look_after(app, state).unwrap_or_else(|error| {
        app.progress.trouble(&error);
        false
    });
    if machines.iter().any(|machine| machine.power == Power::Running)
        && let Err(error) = renewal::follow(app, state)
    {
        app.progress.warn(error.to_string());
    }
    unbelieved
}

fn kubeconfig_of(state: &ClusterState) -> &'static str {
    let check = || Kubeconfig::from_env()?.check(&state.spec.name, &format!("https://{}", state.endpoint()?));
    match check() {
        Ok(Check::Configured) => "Configured",
        _ => "Misconfigured",
    }
}

async fn look(
    driver: &dyn Driver,
    cluster: &str,
    node: &NodeRecord,
    power: Option<Power>,
    kubeconfig: &str,
) -> NodeState {
    let agent = match power {
        Some(Power::Running) => ask(driver, cluster, &node.machine).await,
        _ => None,
    };
    let component = |name: &str| {
        let components = agent.iter().flat_map(|status| &status.components);
        let ready = components.clone().any(|found| found.name == name && found.state == ComponentState::Ready);
        if ready { "Running" } else { "Stopped" }.to_owned()
    };
    let worker = node.role == Role::Worker;
    let failing = agent.iter().flat_map(|status| &status.components).filter_map(failing).collect();
    NodeState {
        name: node.name.clone(),
        host: nodes::power(power).to_owned(),
        kubelet: component("kubelet"),
        api_server: if worker { "Irrelevant".to_owned() } else { component("kube-apiserver") },
        kubeconfig: if worker { "Irrelevant".to_owned() } else { kubeconfig.to_owned() },
        etcd: None,
        worker,
        failing,
    }
}

/// Describes a component that waits for its next start.
fn failing(component: &ComponentStatus) -> Option<String> {
    let ComponentStatus { name, state, restarts, last_exit, .. } = component;
    let exit = last_exit.as_ref().map(|exit| format!(", at last with {exit}")).unwrap_or_default();
    (*state == ComponentState::BackOff).then(|| format!("{name} ended {} times{exit}", restarts.max(&1)))
}

/// Returns the status that the agent reports, or `None` if it does not answer.
async fn ask(driver: &dyn Driver, cluster: &str, node: &str) -> Option<NodeStatus> {
    let machine = driver.machine(cluster, node).await.ok()?;
    let output = machine.exec(Exec::new([paths::AGENT, "status"])).await.ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, kubelet: &str, api_server: &str, kubeconfig: &str) -> NodeState {
        let own = str::to_owned;
        NodeState {
            name: own("n"),
            host: own(host),
            kubelet: own(kubelet),
            api_server: own(api_server),
            kubeconfig: own(kubeconfig),
            etcd: None,
            worker: false,
            failing: Vec::new(),
        }
    }

    #[test]
    fn components_that_fail_are_described() {
        let component = |state, restarts, last_exit: Option<&str>| ComponentStatus {
            name: "etcd".to_owned(),
            state,
            pid: None,
            restarts,
            last_exit: last_exit.map(str::to_owned),
            ready_after_ms: None,
        };
        let failed = failing(&component(ComponentState::BackOff, 3, Some("exit code 2")));
        assert_eq!(failed.as_deref(), Some("etcd ended 3 times, at last with exit code 2"));
        assert_eq!(failing(&component(ComponentState::Ready, 3, Some("exit code 2"))), None);
    }

    #[test]
    fn the_exit_code_is_the_sum_of_what_is_wrong() {
        let fine = node("Running", "Running", "Running", "Configured");
        assert_eq!(Bits::of(&[]), Bits(7));
        assert_eq!(Bits::of(std::slice::from_ref(&fine)), Bits(0));
        assert_eq!(Bits::of(&[fine.clone(), node("Stopped", "Stopped", "Irrelevant", "Irrelevant")]), Bits(3));
        assert_eq!(Bits::of(&[fine, node("Running", "Stopped", "Running", "Misconfigured")]), Bits(6));
    }
}
