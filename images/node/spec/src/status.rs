//! The status of a node, which `kcl-node status` prints as JSON.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A member of etcd as its cluster sees it, which `kcl-node etcd list` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// The number by which etcd knows it.
    pub id: u64,
    /// The name of the member, which is the node's; empty until it has been started for the first time.
    pub name: String,
    /// The address at which other members reach it.
    pub address: IpAddr,
    /// True while it only follows, and has no vote.
    pub learner: bool,
    /// True if it leads.
    pub leader: bool,
}

/// The phase of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Mounts, sysctls, cgroups and routes are being prepared.
    Preparing,
    /// Components are being started.
    Starting,
    /// All components are ready.
    Running,
    /// Components are being stopped.
    Stopping,
    /// The node could not be prepared; [`NodeStatus::error`] says why.
    Failed,
}

/// The state of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComponentState {
    /// The component waits for another.
    Waiting,
    /// The process runs and is not ready yet.
    Starting,
    /// The component is ready.
    Ready,
    /// The process ended and will be restarted after a delay.
    BackOff,
    /// The component was stopped.
    Stopped,
}

/// The status of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// The name: `etcd`, `kube-apiserver`, …
    pub name: String,
    /// The state of the component.
    pub state: ComponentState,
    /// The process id, in the node's process namespace.
    pub pid: Option<u32>,
    /// The number of restarts since the node started.
    pub restarts: u32,
    /// The last end of the process, as text: `exit code 1`, `signal 9`.
    pub last_exit: Option<String>,
    /// Milliseconds from the agent's start until it was first ready.
    pub ready_after_ms: Option<u64>,
}

/// The status of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node's name.
    pub name: String,
    /// The version of the agent, which is kcl's.
    pub agent: String,
    /// The phase of the node.
    pub phase: Phase,
    /// The reason of a failure.
    pub error: Option<String>,
    /// True if the API is reachable through this node's loopback port.
    pub api_ready: bool,
    /// Milliseconds since the agent started.
    pub uptime_ms: u64,
    /// The components, in the order of their start.
    pub components: Vec<ComponentStatus>,
}
