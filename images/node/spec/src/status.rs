//! What an agent says of its node: `kcl-node status` prints it as JSON.

use serde::{Deserialize, Serialize};

/// How far the node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Mounts, sysctls, cgroups, routes.
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

/// How far a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComponentState {
    /// It waits for another.
    Waiting,
    /// Its process runs and is not ready yet.
    Starting,
    /// It is ready.
    Ready,
    /// It ended and will be started again after a back-off.
    BackOff,
    /// It was stopped.
    Stopped,
}

/// A component of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// `etcd`, `kube-apiserver`, …
    pub name: String,
    /// How far it is.
    pub state: ComponentState,
    /// Its process, in the node's process namespace.
    pub pid: Option<u32>,
    /// How often it was started again since the node started.
    pub restarts: u32,
    /// How it last ended, in words: `exit code 1`, `signal 9`.
    pub last_exit: Option<String>,
    /// Milliseconds from the agent's start until it was first ready.
    pub ready_after_ms: Option<u64>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// The agent's version: kcl's.
    pub agent: String,
    /// How far it is.
    pub phase: Phase,
    /// Why it failed.
    pub error: Option<String>,
    /// The API answers through this node's loopback port.
    pub api_ready: bool,
    /// Milliseconds since the agent started.
    pub uptime_ms: u64,
    /// Its components, in the order of their start.
    pub components: Vec<ComponentStatus>,
}
