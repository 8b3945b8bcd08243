//! Checks before anything is changed: the request and the findings.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Error, Subnets};

/// The machines that are about to be made or powered on.
#[derive(Clone, Debug, Default)]
pub struct PreflightRequest {
    /// The name of the cluster.
    pub cluster: String,
    /// The machines that will be made or powered on, by name.
    pub machines: Vec<String>,
    /// The inotify instances that the processes of each machine will open (inotify(7), max_user_instances). A driver
    /// whose machines share a host's kernel checks that as many are left.
    pub inotify_instances: BTreeMap<String, u64>,
    /// The subnet, if one was requested or is kept.
    pub subnet: Option<Subnets>,
    /// The networks that only the cluster uses. A driver whose machines share a host's network looks for them there.
    pub ranges: Vec<ClusterRange>,
    /// Whole CPUs for each machine.
    pub cpus: Option<u32>,
    /// Bytes of memory for each machine.
    pub memory: Option<u64>,
}

impl PreflightRequest {
    /// Returns the inotify instances that all machines of this request will open.
    pub fn inotify_instances(&self) -> u64 {
        self.machines.iter().filter_map(|machine| self.inotify_instances.get(machine)).sum()
    }
}

/// A network that only a cluster uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRange {
    /// The addresses of the network.
    pub net: Subnets,
    /// The command by which a user chooses another network.
    pub fix: String,
}

/// The weight of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The start fails.
    Error,
    /// The start may succeed, with drawbacks.
    Warning,
}

/// An obstacle to a start, or a drawback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The weight of the finding.
    pub severity: Severity,
    /// A stable name: `root`, `inotify-instances`, `subnet-collision`, …
    pub id: &'static str,
    /// The fact that was found and the one that is needed.
    pub message: String,
    /// The command that fixes it, if there is one.
    pub fix: Option<String>,
}

impl Finding {
    /// Creates a finding that stops the start.
    pub fn error(id: &'static str, message: impl Into<String>) -> Self {
        Finding { severity: Severity::Error, id, message: message.into(), fix: None }
    }

    /// Creates a finding that does not stop the start.
    pub fn warning(id: &'static str, message: impl Into<String>) -> Self {
        Finding { severity: Severity::Warning, ..Finding::error(id, message) }
    }

    /// Adds the command that fixes it.
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Creates a finding that stops the start from an error.
    pub fn from_error(id: &'static str, error: Error) -> Self {
        Finding { fix: error.hint, ..Finding::error(id, error.message) }
    }
}

/// The condition of a driver on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The engine and its version, such as `Docker 28.2.2`; none if it was not found.
    pub engine: Option<String>,
    /// Missing parts and noteworthy facts.
    pub findings: Vec<Finding>,
}

impl Health {
    /// Returns true if no finding stops a start.
    pub fn works(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }
}
