//! What is looked at before anything is changed.

use ipnet::Ipv4Net;
use serde::Serialize;

/// What is about to be made.
#[derive(Clone, Debug, Default)]
pub struct PreflightRequest {
    /// The cluster.
    pub cluster: String,
    /// The machines that will be made or powered on, by name.
    pub machines: Vec<String>,
    /// inotify instances that their processes will open in all (`man 7 inotify`, max_user_instances): a driver whose
    /// machines share the host's kernel looks whether there are as many left.
    pub inotify_instances: u64,
    /// The subnet, where one was asked for or is kept.
    pub subnet: Option<Ipv4Net>,
    /// The networks that only the cluster uses. A driver whose machines share the network of a host looks for them there.
    pub ranges: Vec<ClusterRange>,
    /// Whole CPUs for each machine.
    pub cpus: Option<u32>,
    /// Bytes of memory for each machine.
    pub memory: Option<u64>,
}

/// A network that only a cluster uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRange {
    /// Its addresses.
    pub net: Ipv4Net,
    /// The command by which a user chooses another network.
    pub fix: String,
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

/// Whether a driver works here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The engine and its version, such as `Docker 28.2.2`; none where it was not found.
    pub engine: Option<String>,
    /// What is missing, and what is worth knowing.
    pub findings: Vec<Finding>,
}

impl Health {
    /// Nothing stands in the way.
    pub fn works(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }
}
