//! The rows of the CIS Kubernetes Benchmark that docs/security.md says pass, read off a real node.

use crate::support::{TestCluster, eventually};

/// The flags of each component, with their values.
const FLAGS: [(&str, &[&str]); 4] = [
    (
        "kube-apiserver",
        &[
            "authorization-mode=Node,RBAC",
            "enable-admission-plugins=NodeRestriction,DenyServiceExternalIPs,EventRateLimit",
            "profiling=false",
            "audit-log-path=/var/log/kubernetes/audit.log",
            "audit-log-maxage=30",
            "audit-log-maxbackup=10",
            "audit-log-maxsize=100",
            "service-account-extend-token-expiration=false",
            "service-account-key-file=/etc/kubernetes/pki/sa.pub",
            "encryption-provider-config=/etc/kubernetes/encryption.yaml",
            "kubelet-certificate-authority=/etc/kubernetes/pki/ca.crt",
            "tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,",
        ],
    ),
    (
        "kube-controller-manager",
        &[
            "terminated-pod-gc-threshold=1000",
            "profiling=false",
            "use-service-account-credentials=true",
            "root-ca-file=/etc/kubernetes/pki/ca.crt",
            "bind-address=127.0.0.1",
        ],
    ),
    ("kube-scheduler", &["profiling=false", "bind-address=127.0.0.1"]),
    (
        "etcd",
        &[
            "client-cert-auth=true",
            "peer-client-cert-auth=true",
            "trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt",
            "peer-trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt",
        ],
    ),
];

/// Files of a control plane, and the bits that the mode of each may have.
const MODES: [(&str, u32); 12] = [
    ("/etc/cni/net.d/10-kcl.conflist", 0o600),
    ("/var/lib/etcd", 0o700),
    ("/etc/kubernetes/scheduler.conf", 0o600),
    ("/etc/kubernetes/controller-manager.conf", 0o600),
    ("/etc/kubernetes/kubelet.conf", 0o600),
    ("/etc/kubernetes/kube-proxy.conf", 0o600),
    ("/etc/kubernetes/kcl-policy.conf", 0o600),
    ("/etc/kubernetes/encryption.yaml", 0o600),
    ("/run/kcl/config/kubelet.json", 0o600),
    ("/etc/kubernetes/pki/*.crt", 0o644),
    ("/etc/kubernetes/pki/*.key", 0o600),
    ("/var/log/kubernetes/audit.log", 0o600),
];

/// Reads the rows off the control plane of a cluster.
pub(crate) fn rows_pass(cluster: &TestCluster<'_>, node: &str) {
    for (program, flags) in FLAGS {
        let arguments = cluster.ssh(node, &format!("tr '\\0' '\\n' < /proc/$(pidof {program})/cmdline"));
        for flag in flags {
            let found = arguments.ok().lines().any(|line| line.trim_start_matches("--").starts_with(flag));
            assert!(found, "{program}: --{flag}: {arguments}");
        }
        assert!(!arguments.ok().contains("--token-auth-file"), "{arguments}");
    }
    for (path, allowed) in MODES {
        for line in cluster.ssh(node, &format!("stat -c '%a %U:%G %n' {path}")).ok().lines() {
            let (mode, rest) = line.split_once(' ').expect("a mode");
            let mode = u32::from_str_radix(mode, 8).expect("an octal number");
            assert!(mode & !allowed == 0 && rest.starts_with("root:root "), "{line}");
        }
    }
    kubelet_is_as_the_benchmark_wants(cluster, node);
    requests_are_on_record(cluster, node);
    let external = "{apiVersion: v1, kind: Service, metadata: {name: external}, \
                    spec: {externalIPs: [192.0.2.1], ports: [{port: 80}]}}";
    let file = cluster.manifest(external);
    let said = cluster.kubectl_try([std::ffi::OsStr::new("apply"), "-f".as_ref(), file.as_ref()]);
    assert!(said.fails().contains("externalIPs"), "CVE-2020-8554: {said}");
}

fn kubelet_is_as_the_benchmark_wants(cluster: &TestCluster<'_>, node: &str) {
    let config = cluster.kubectl(["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/configz")]);
    let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    let config = &config["kubeletconfig"];
    for (pointer, wanted) in [
        ("/authentication/anonymous/enabled", serde_json::json!(false)),
        ("/authorization/mode", "Webhook".into()),
        ("/authentication/x509/clientCAFile", "/etc/kubernetes/pki/ca.crt".into()),
        ("/streamingConnectionIdleTimeout", "4h0m0s".into()),
        ("/podPidsLimit", 4096.into()),
        ("/seccompDefault", true.into()),
        ("/tlsCipherSuites/0", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".into()),
    ] {
        assert_eq!(config.pointer(pointer), Some(&wanted), "{pointer}: {config:#}");
    }
    assert!(matches!(config["readOnlyPort"].as_u64(), None | Some(0)), "{config:#}");
    let said = cluster.run_on(node, "filtered", "grep Seccomp: /proc/self/status");
    assert_eq!(said, "Seccomp:\t2");
    // The bound is of the pod, not of its containers. CoreDNS is one.
    let pods =
        cluster.ssh(node, "cat $(find /sys/fs/cgroup -path '*/kubepods*' -regex '.*/pod[^/]*/pids.max') | sort -u");
    assert_eq!(pods.ok(), "4096");
    let machine = cluster.ssh(node, "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true");
    assert!(machine.ok().trim().parse::<u64>().is_ok_and(|limit| limit > 4096), "the machine is, too: {machine}");
}

fn requests_are_on_record(cluster: &TestCluster<'_>, node: &str) {
    cluster.kubectl(["create", "secret", "generic", "audited", "--from-literal=word=PLANTED-WORD"]);
    let log = "/var/log/kubernetes/audit.log";
    eventually("the request is in the audit log", || {
        let lines = cluster.ssh(node, &format!("grep '\"name\":\"audited\"' {log}"));
        if lines.stdout.contains("\"verb\":\"create\"") { Ok(()) } else { Err(lines.to_string()) }
    });
    cluster.ssh(node, &format!("! grep -q PLANTED-WORD {log}")).ok();
    cluster.kubectl(["delete", "secret", "audited"]);
}
