//! The options of a start.

use std::time::Duration;

use crate::artifacts;
use crate::bootstrap::Wait;
use crate::config::{ClusterSpec, Overrides};
use crate::state::Lifetime;

/// The options of `start`.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// The properties of the cluster that the user gives.
    pub overrides: Overrides,
    /// The sources of artifacts.
    pub artifacts: artifacts::Options,
    /// The way in which missing artifacts are obtained.
    pub way: artifacts::Way,
    /// The state of the cluster that is waited for.
    pub wait: Wait,
    /// The longest time to wait for it.
    pub wait_timeout: Duration,
    /// The properties of a new cluster that the overrides leave open; none: the defaults.
    pub base: Option<ClusterSpec>,
    /// The cluster is a spare one, for `run` to take.
    pub spare: bool,
    /// The lifetime of the cluster; none: it stays as it was.
    pub lifetime: Option<Lifetime>,
    /// A start that fails leaves what it has created.
    pub keep: bool,
    /// The change to the user's kubeconfig.
    pub context: Context,
    /// Only the plan is made.
    pub dry_run: bool,
    /// The nodes that the start is for.
    pub scope: Scope,
}

/// The nodes that a start is for. Others are neither started nor restarted: those that run only hear of the change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The start is for all nodes.
    #[default]
    All,
    /// The start is for the nodes that are not a part of the cluster yet.
    Joining,
    /// The start is for this node.
    Node(String),
    /// The start is for no node: those that leave are removed, and that is all.
    None,
}

/// The options of a start that leaves a cluster as its user wants it, and whose kubeconfig stays as it is.
impl Default for StartOptions {
    fn default() -> Self {
        StartOptions {
            overrides: Overrides::default(),
            artifacts: artifacts::Options::default(),
            way: artifacts::Way::default(),
            wait: Wait::Nodes,
            wait_timeout: Duration::from_secs(360),
            base: None,
            spare: false,
            lifetime: None,
            keep: false,
            context: Context::Absent,
            dry_run: false,
            scope: Scope::default(),
        }
    }
}

/// The change to the user's kubeconfig.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// The cluster is added and becomes the current context.
    Current,
    /// The cluster is added; the current context stays.
    Kept,
    /// The kubeconfig stays as it is.
    Absent,
}
