//! What runs in a node: for each component a pure function from the node spec and the facts to a [`Process`].

mod containerd;
mod controller_manager;
mod etcd;
mod flags;
mod kube_apiserver;
mod kube_proxy;
mod kubelet;
mod scheduler;

use std::path::PathBuf;
use std::time::Duration;

use kcl_node_spec::{NodeSpec, Role};

use crate::facts::Facts;
use crate::paths;

/// A component as it is to be run.
#[derive(Clone, Debug)]
pub struct Process {
    /// The component's name, and its program's among the components.
    pub name: &'static str,
    /// Its arguments.
    pub args: Vec<String>,
    /// Files below [`paths::RENDERED`]: name and content.
    pub files: Vec<(&'static str, String)>,
    /// How one knows that it is ready.
    pub readiness: Readiness,
    /// What it waits for before it is started.
    pub after: &'static [After],
    /// How long it gets to end after SIGTERM before it is killed.
    pub grace: Duration,
    /// It sees the machine as `capacity` bounds it.
    pub bounded_view: bool,
    /// All others wait for it: it comes first where CPUs are scarce.
    pub urgent: bool,
}

impl Process {
    /// Its program.
    pub fn program(&self) -> PathBuf {
        paths::binary(self.name)
    }
}

/// How one knows that a component is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It says so itself, by sd_notify(3).
    Notify,
    /// `GET /healthz` over plain HTTP on this port of loopback.
    Http(u16),
    /// `GET /healthz` over TLS on this port of loopback.
    Https(u16),
    /// The gate finds the API server of this node ready.
    Gate,
}

/// What a component waits for. A condition that was once true may become false again: it counts at each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Another component is ready.
    Ready(&'static str),
    /// The node's own API server serves, though its start is not finished (its RBAC may be missing).
    ApiServing,
}

/// The components of the node, in the order of their start.
pub fn all(spec: &NodeSpec, facts: &Facts) -> Vec<Process> {
    let mut all = Vec::new();
    if spec.role == Role::ControlPlane {
        all.push(etcd::process(spec));
        all.push(kube_apiserver::process(spec));
    }
    all.push(containerd::process(facts));
    all.push(kubelet::process(spec, facts));
    if spec.role == Role::ControlPlane {
        all.push(controller_manager::process(spec));
        all.push(scheduler::process(spec));
    }
    all.push(kube_proxy::process(spec, facts));
    all
}

/// Whether several control planes have to agree on who leads.
fn leader_elect(spec: &NodeSpec) -> String {
    (spec.kubernetes.etcd_members.len() > 1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{facts, spec};

    #[test]
    fn a_worker_has_no_control_plane() {
        let mut spec = spec();
        spec.role = Role::Worker;
        let names: Vec<_> = all(&spec, &facts()).iter().map(|process| process.name).collect();
        assert_eq!(names, ["containerd", "kubelet", "kube-proxy"]);
    }

    #[test]
    fn a_component_waits_only_for_what_the_node_has() {
        for role in [Role::ControlPlane, Role::Worker] {
            let spec = NodeSpec { role, ..spec() };
            let all = all(&spec, &facts());
            for process in &all {
                for after in process.after {
                    match after {
                        After::Ready(name) => assert!(all.iter().any(|other| other.name == *name)),
                        After::ApiServing => assert_eq!(role, Role::ControlPlane, "{}", process.name),
                    }
                }
            }
        }
    }
}
