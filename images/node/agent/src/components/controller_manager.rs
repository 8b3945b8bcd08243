//! The controller manager.

use std::time::Duration;

use kcl_node_spec::{NodeSpec, ports};

use super::flags::Flags;
use super::{After, Liveness, Process, Readiness};
use crate::paths::{CONTROLLER_MANAGER_CONF, pki, pki_file};

/// Returns the process of the controller manager.
pub(super) fn process(spec: &NodeSpec) -> Process {
    Process {
        name: "kube-controller-manager",
        args: flags(spec).args(),
        formation: Vec::new(),
        files: Vec::new(),
        reads: vec![CONTROLLER_MANAGER_CONF.to_owned(), pki_file(pki::CA_CERT), pki_file(pki::SA_KEY)],
        proxied: false,
        readiness: Readiness::Https(ports::CONTROLLER_MANAGER),
        liveness: Liveness::on_loopback(ports::CONTROLLER_MANAGER),
        after: &[After::ApiServing],
        grace: Duration::from_secs(3),
        bounded_view: false,
        urgent: false,
        hands_over: false,
    }
}

fn flags(spec: &NodeSpec) -> Flags {
    let mut flags = Flags::default();
    super::scheduler::companion(&mut flags, spec, CONTROLLER_MANAGER_CONF);
    flags
        // kcl assigns each node its range itself.
        .set("allocate-node-cidrs", "false")
        .set("cluster-name", spec.cluster.as_str())
        .set("cluster-signing-cert-file", pki_file(pki::SIGNING_CA_CERT))
        .set("cluster-signing-key-file", pki_file(pki::CA_KEY))
        .set("root-ca-file", pki_file(pki::CA_CERT))
        .set("service-account-private-key-file", pki_file(pki::SA_KEY))
        .set("terminated-pod-gc-threshold", "1000")
        .set("use-service-account-credentials", "true")
        .feature_gates(spec)
        .extra(spec, "controller-manager");
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;

    #[test]
    fn a_lone_one_elects_nobody() {
        let args = flags(&spec()).args();
        assert!(args.contains(&"--leader-elect=false".to_owned()));
        assert!(args.contains(&"--kube-api-qps=500".to_owned()));
    }
}
