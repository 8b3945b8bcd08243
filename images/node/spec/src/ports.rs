//! The ports of a node's components.

/// The port of the API server on the node's address. On 127.0.0.1 the agent of every node listens on the same port and
/// balances connections over the API servers.
pub const API_SERVER: u16 = 6443;
/// The port of etcd for its clients.
pub const ETCD_CLIENT: u16 = 2379;
/// The port of etcd for its members.
pub const ETCD_PEER: u16 = 2380;
/// The port of etcd's metrics and health on loopback.
pub const ETCD_METRICS: u16 = 2381;
/// The port of the kubelet.
pub const KUBELET: u16 = 10250;
/// The port of the kubelet's health endpoint.
pub const KUBELET_HEALTH: u16 = 10248;
/// The port of kube-proxy's metrics.
pub const KUBE_PROXY_METRICS: u16 = 10249;
/// The port of kube-proxy's health endpoint.
pub const KUBE_PROXY_HEALTH: u16 = 10256;
/// The port of the controller manager.
pub const CONTROLLER_MANAGER: u16 = 10257;
/// The port of the scheduler.
pub const SCHEDULER: u16 = 10259;

/// The ports of all components.
pub const ALL: [u16; 10] = [
    API_SERVER,
    ETCD_CLIENT,
    ETCD_PEER,
    ETCD_METRICS,
    KUBELET,
    KUBELET_HEALTH,
    KUBE_PROXY_METRICS,
    KUBE_PROXY_HEALTH,
    CONTROLLER_MANAGER,
    SCHEDULER,
];
