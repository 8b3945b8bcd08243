//! The components of a node: each is a pure function from the node spec and the facts to a [`Process`].

mod admission;
mod audit;
mod containerd;
mod controller_manager;
mod etcd;
mod flags;
mod kube_apiserver;
mod kube_proxy;
mod kubelet;
mod policy;
mod process;
mod scheduler;
mod tls;

pub(crate) use policy::NAME as POLICY;
pub(crate) use process::{After, Liveness, Process, Readiness};

use kcl_node_spec::{NodeSpec, Role};

use crate::facts::Facts;

/// Returns the components of the node, in the order of their start.
pub(crate) fn all(spec: &NodeSpec, facts: &Facts) -> Vec<Process> {
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
    all.push(policy::process(spec));
    all
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
        assert_eq!(names, ["containerd", "kubelet", "kube-proxy", "kcl-policy"]);
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
