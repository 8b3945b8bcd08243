//! Paths in a node. The layout below `/etc/kubernetes` is kubeadm's, which people know.

/// The node spec.
pub const SPEC: &str = "/etc/kcl/node.json";
/// The agent's program.
pub const AGENT: &str = "/opt/kcl/agent/kcl-node";
/// Kubernetes and its companions: `bin/` and `cni/`, read-only.
pub const COMPONENTS: &str = "/opt/kcl/components";
/// The root directory of containerd, seeded with the system images.
pub const CONTAINERD_ROOT: &str = "/var/lib/containerd";
/// The agent's socket, below a tmpfs.
pub const SOCKET: &str = "/run/kcl/agent.sock";
/// The socket of the policy engine, which the container network asks about each new pod.
pub const POLICY_SOCKET: &str = "/run/kcl/policy.sock";
/// The directory in which the policy engine keeps the addresses of the pods that run.
pub const POLICY_CLAIMS: &str = "/run/kcl/policy";
/// Logs of the components: `<component>.log`, rotated to `<component>.log.1`.
pub const LOGS: &str = "/var/log/kcl";
/// The audit log of the API server.
pub const AUDIT_LOG: &str = "/var/log/kubernetes/audit.log";
/// The directory of the sockets by which components report that they are ready (sd_notify(3)).
pub const NOTIFY: &str = "/run/kcl/notify";
/// The directory of configuration files, which the agent writes at each start.
pub const RENDERED: &str = "/run/kcl/config";
/// The directories that are on a real file system.
pub const VOLUMES: &[&str] =
    &["/var/lib/containerd", "/var/lib/etcd", "/var/lib/kubelet", "/var/lib/cni", "/var/lib/kcl", "/var/log"];

/// The directory of certificates and keys.
pub const PKI: &str = "/etc/kubernetes/pki";
/// The kubeconfig of the controller manager.
pub const CONTROLLER_MANAGER_CONF: &str = "/etc/kubernetes/controller-manager.conf";
/// The kubeconfig of the scheduler.
pub const SCHEDULER_CONF: &str = "/etc/kubernetes/scheduler.conf";
/// The kubeconfig of the kubelet.
pub const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";
/// The kubeconfig of kube-proxy.
pub const KUBE_PROXY_CONF: &str = "/etc/kubernetes/kube-proxy.conf";
/// The kubeconfig of the policy engine.
pub const POLICY_CONF: &str = "/etc/kubernetes/kcl-policy.conf";
/// The configuration of the encryption of Secrets at rest (`apiserver.config.k8s.io/v1`, `EncryptionConfiguration`).
pub const ENCRYPTION_CONF: &str = "/etc/kubernetes/encryption.yaml";

/// File names below [`PKI`]. A control plane has all, a worker only `CA_CERT` and the two of its kubelet.
pub mod pki {
    /// The CAs that the cluster trusts: its own, and during a rotation the one before.
    pub const CA_CERT: &str = "ca.crt";
    /// The key of the cluster's CA, with which the controller manager signs.
    pub const CA_KEY: &str = "ca.key";
    /// The certificate that belongs to that key, alone: the controller manager accepts no other one beside it.
    pub const SIGNING_CA_CERT: &str = "signing-ca.crt";
    /// The API server's serving certificate.
    pub const API_SERVER_CERT: &str = "apiserver.crt";
    /// The key of the API server's serving certificate.
    pub const API_SERVER_KEY: &str = "apiserver.key";
    /// The certificate of the API server as a client of kubelets.
    pub const KUBELET_CLIENT_CERT: &str = "apiserver-kubelet-client.crt";
    /// The key of that certificate.
    pub const KUBELET_CLIENT_KEY: &str = "apiserver-kubelet-client.key";
    /// The certificate of the API server as a client of etcd.
    pub const ETCD_CLIENT_CERT: &str = "apiserver-etcd-client.crt";
    /// The key of that certificate.
    pub const ETCD_CLIENT_KEY: &str = "apiserver-etcd-client.key";
    /// The CA of the aggregation layer.
    pub const FRONT_PROXY_CA_CERT: &str = "front-proxy-ca.crt";
    /// The certificate of the API server as a client of extension API servers.
    pub const FRONT_PROXY_CLIENT_CERT: &str = "front-proxy-client.crt";
    /// The key of that certificate.
    pub const FRONT_PROXY_CLIENT_KEY: &str = "front-proxy-client.key";
    /// The CA of etcd.
    pub const ETCD_CA_CERT: &str = "etcd/ca.crt";
    /// etcd's certificate, as a server of clients.
    pub const ETCD_SERVER_CERT: &str = "etcd/server.crt";
    /// The key of that certificate.
    pub const ETCD_SERVER_KEY: &str = "etcd/server.key";
    /// The certificate of etcd for its members, as server and client.
    pub const ETCD_PEER_CERT: &str = "etcd/peer.crt";
    /// The key of that certificate.
    pub const ETCD_PEER_KEY: &str = "etcd/peer.key";
    /// The private key that signs service account tokens.
    pub const SA_KEY: &str = "sa.key";
    /// The public key that verifies service account tokens.
    pub const SA_PUB: &str = "sa.pub";
    /// The kubelet's serving certificate, which the API server checks.
    pub const KUBELET_SERVER_CERT: &str = "kubelet.crt";
    /// The key of that certificate.
    pub const KUBELET_SERVER_KEY: &str = "kubelet.key";
}
