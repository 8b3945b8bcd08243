//! The process of the API server.

use std::net::SocketAddr;
use std::time::Duration;

use kcl_node_spec::{NodeSpec, ports};
use serde_json::json;

use super::flags::{Flags, extra};
use super::tls::CIPHER_SUITES;
use super::{After, Liveness, Process, Readiness, admission, audit};
use crate::paths::{self, ENCRYPTION_CONF, pki, pki_file};

const AUTHENTICATION: &str = "apiserver-authentication.json";

/// Returns the process of the API server.
pub(super) fn process(spec: &NodeSpec) -> Process {
    Process {
        name: "kube-apiserver",
        args: flags(spec).args(),
        formation: Vec::new(),
        files: vec![
            (AUTHENTICATION, authentication()),
            (admission::FILE, admission::config(spec.kubernetes.harden)),
            (audit::FILE, audit::policy()),
        ],
        reads: vec![pki_file(pki::SA_KEY), pki_file(pki::SA_PUB), ENCRYPTION_CONF.to_owned()],
        proxied: false,
        readiness: Readiness::Gate,
        // Not of etcd, which has a sign of its own: a restart of the API server would not help it.
        liveness: Liveness::Https(SocketAddr::new(spec.address.primary(), ports::API_SERVER), "/livez?exclude=etcd"),
        // Started at the same time as etcd, it would only compete with it for the processor, and retry.
        after: &[After::Ready("etcd")],
        // Within some 50 ms it has withdrawn its address and its lease. After that it only waits for idle connections,
        // checking with pauses of up to 500 ms; its clients on this node have ended.
        grace: Duration::from_millis(600),
        bounded_view: false,
        urgent: true,
        hands_over: false,
    }
}

fn flags(spec: &NodeSpec) -> Flags {
    let address = spec.address.primary().to_string();
    let mut flags = Flags::default();
    flags
        .set("advertise-address", address.as_str())
        .set("bind-address", address.as_str())
        .set("secure-port", ports::API_SERVER.to_string())
        .set("admission-control-config-file", paths::rendered(admission::FILE).to_string_lossy())
        .set("allow-privileged", "true")
        .set("audit-log-maxage", "30")
        .set("audit-log-maxbackup", "10")
        .set("audit-log-maxsize", "100")
        // Requests do not wait for the disk.
        .set("audit-log-mode", "batch")
        .set("audit-log-path", paths::AUDIT_LOG)
        .set("audit-policy-file", paths::rendered(audit::FILE).to_string_lossy())
        .set("authentication-config", paths::rendered(AUTHENTICATION).to_string_lossy())
        .set("authorization-mode", "Node,RBAC")
        .set("client-ca-file", pki_file(pki::CA_CERT))
        .set("enable-admission-plugins", "NodeRestriction,DenyServiceExternalIPs,EventRateLimit")
        .set("encryption-provider-config", ENCRYPTION_CONF)
        .set("etcd-servers", format!("https://127.0.0.1:{}", ports::ETCD_CLIENT))
        .set("etcd-cafile", pki_file(pki::ETCD_CA_CERT))
        .set("etcd-certfile", pki_file(pki::ETCD_CLIENT_CERT))
        .set("etcd-keyfile", pki_file(pki::ETCD_CLIENT_KEY))
        .set("kubelet-certificate-authority", pki_file(pki::CA_CERT))
        .set("kubelet-client-certificate", pki_file(pki::KUBELET_CLIENT_CERT))
        .set("kubelet-client-key", pki_file(pki::KUBELET_CLIENT_KEY))
        // Node names are not in any DNS.
        .set("kubelet-preferred-address-types", "InternalIP,Hostname")
        .set("profiling", "false")
        .set("proxy-client-cert-file", pki_file(pki::FRONT_PROXY_CLIENT_CERT))
        .set("proxy-client-key-file", pki_file(pki::FRONT_PROXY_CLIENT_KEY))
        .set("requestheader-allowed-names", "front-proxy-client")
        .set("requestheader-client-ca-file", pki_file(pki::FRONT_PROXY_CA_CERT))
        .set("requestheader-extra-headers-prefix", "X-Remote-Extra-")
        .set("requestheader-group-headers", "X-Remote-Group")
        .set("requestheader-username-headers", "X-Remote-User")
        // A token ends when it says so, and not a year later for clients that do not read it again.
        .set("service-account-extend-token-expiration", "false")
        .set("service-account-issuer", format!("https://kubernetes.default.svc.{}", spec.network.dns_domain))
        .set("service-account-key-file", pki_file(pki::SA_PUB))
        .set("service-account-signing-key-file", pki_file(pki::SA_KEY))
        .set("service-cluster-ip-range", spec.network.service_cidr.to_string())
        // The deadline for watches at a stop; without it, the API server waits for them indefinitely.
        .set("shutdown-watch-termination-grace-period", "1s")
        .set("tls-cert-file", pki_file(pki::API_SERVER_CERT))
        .set("tls-cipher-suites", CIPHER_SUITES.join(","))
        .set("tls-private-key-file", pki_file(pki::API_SERVER_KEY))
        .feature_gates(spec);
    if extra(spec, "apiserver").any(|(name, _)| clashes_with_authentication_config(name)) {
        flags.remove("authentication-config").set("anonymous-auth", "false");
    }
    flags.extra(spec, "apiserver");
    flags
}

/// The flags that the API server refuses together with `--authentication-config`, or that replace it.
fn clashes_with_authentication_config(flag: &str) -> bool {
    flag == "anonymous-auth" || flag.starts_with("oidc-")
}

/// Lets anonymous requests reach the health endpoints and nothing else (KEP-4633).
fn authentication() -> String {
    let config = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {
            "enabled": true,
            "conditions": [{ "path": "/livez" }, { "path": "/readyz" }, { "path": "/healthz" }],
        },
    });
    config.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;

    #[test]
    fn flags_of_a_lone_control_plane() {
        let args = flags(&spec()).args();
        for wanted in [
            "--bind-address=10.111.0.2",
            "--authorization-mode=Node,RBAC",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--etcd-servers=https://127.0.0.1:2379",
            "--service-cluster-ip-range=10.96.0.0/16",
        ] {
            assert!(args.iter().any(|arg| arg == wanted), "{wanted} is missing in {args:?}");
        }
    }

    #[test]
    fn flags_about_anonymous_users_replace_the_file() {
        let mut spec = spec();
        let wanted = [("anonymous-auth".to_owned(), "true".to_owned())];
        spec.kubernetes.extra.insert("apiserver".to_owned(), wanted.into());
        let args = flags(&spec).args();
        assert!(args.contains(&"--anonymous-auth=true".to_owned()));
        assert!(!args.iter().any(|arg| arg.starts_with("--authentication-config")));
    }
}
