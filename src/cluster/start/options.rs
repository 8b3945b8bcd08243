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
