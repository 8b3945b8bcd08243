//! The scheduler, and the flags that it shares with the controller manager.

use std::time::Duration;

use kcl_node_spec::{NodeSpec, ports};

use super::flags::Flags;
use super::{After, Liveness, Process, Readiness};
use crate::paths::{SCHEDULER_CONF, pki, pki_file};

/// Returns the process of the scheduler.
pub(super) fn process(spec: &NodeSpec) -> Process {
    Process {
        name: "kube-scheduler",
        args: flags(spec).args(),
        formation: Vec::new(),
        files: Vec::new(),
        reads: vec![SCHEDULER_CONF.to_owned()],
        proxied: false,
        readiness: Readiness::Https(ports::SCHEDULER),
        liveness: Liveness::on_loopback(ports::SCHEDULER),
        after: &[After::ApiServing],
        grace: Duration::from_secs(3),
        bounded_view: false,
        urgent: false,
        hands_over: false,
    }
}

fn flags(spec: &NodeSpec) -> Flags {
    let mut flags = Flags::default();
    companion(&mut flags, spec, SCHEDULER_CONF);
    flags.feature_gates(spec).extra(spec, "scheduler");
    flags
}

/// Sets the flags that both companions of the API server have.
pub(super) fn companion(flags: &mut Flags, spec: &NodeSpec, kubeconfig: &str) {
    let has_rivals = spec.kubernetes.api_servers.len() > 1;
    if has_rivals {
        // By default nothing is scheduled for 17 to 32 s after a leader was lost.
        flags
            .set("leader-elect-lease-duration", "6s")
            .set("leader-elect-renew-deadline", "4s")
            .set("leader-elect-retry-period", "1s");
    }
    flags
        .set("leader-elect", has_rivals.to_string())
        .set("authentication-kubeconfig", kubeconfig)
        .set("authorization-kubeconfig", kubeconfig)
        .set("kubeconfig", kubeconfig)
        .set("bind-address", "127.0.0.1")
        .set("client-ca-file", pki_file(pki::CA_CERT))
        .set("requestheader-client-ca-file", pki_file(pki::FRONT_PROXY_CA_CERT))
        // The default of 20 requests a second makes the controller manager spend six seconds on service accounts.
        .set("kube-api-qps", "500")
        .set("kube-api-burst", "1000")
        .set("profiling", "false")
        // Without these each generates two RSA keys at its start, for a port that only loopback reaches. The
        // certificate names 127.0.0.1, and its key is on this node anyway.
        .set("tls-cert-file", pki_file(pki::API_SERVER_CERT))
        .set("tls-private-key-file", pki_file(pki::API_SERVER_KEY));
}
