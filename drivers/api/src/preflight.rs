//! What is looked at before anything is changed.

use ipnet::Ipv4Net;
use serde::Serialize;

/// What is about to be made.
#[derive(Clone, Debug)]
pub struct PreflightRequest {
    /// The cluster.
    pub cluster: String,
    /// How many machines will be made or powered on.
    pub machines: usize,
    /// inotify instances that their processes will open in all (`man 7 inotify`, max_user_instances): a driver whose
    /// machines share the host's kernel looks whether there are as many left.
    pub inotify_instances: u64,
    /// The subnet, where one was asked for or is kept.
    pub subnet: Option<Ipv4Net>,
    /// Whole CPUs for each machine.
    pub cpus: Option<u32>,
    /// Bytes of memory for each machine.
    pub memory: Option<u64>,
}

/// Whether a finding stops the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It will not work.
    Error,
    /// It may work, worse.
    Warning,
}

/// Something that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether it stops the start.
    pub severity: Severity,
    /// A stable name: `root`, `inotify-instances`, `subnet-collision`, …
    pub id: &'static str,
    /// What was found and what is needed.
    pub message: String,
    /// The command that mends it, where there is one.
    pub fix: Option<String>,
}
