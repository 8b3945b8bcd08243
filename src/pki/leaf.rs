//! The leaf certificates and their subjects: data, as in kubeadm's `certlist.go`.

use std::net::{IpAddr, Ipv4Addr};

use kcl_node_spec::{Addresses, Role, paths};

use crate::pki::{ClusterIdentity, NodeIdentity};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The CA that signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer {
    Cluster,
    Etcd,
    FrontProxy,
}

/// The specification of a leaf certificate.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    /// The file's name without its extension, below the node's `pki` directory and below kcl's.
    pub name: &'static str,
    /// The CA that signs it.
    pub signer: Signer,
    /// The user name, for clients.
    pub common_name: String,
    /// The group, for clients.
    pub organization: Option<&'static str>,
    /// Allows use by TLS servers.
    pub server: bool,
    /// Allows use by TLS clients.
    pub client: bool,
    /// The DNS names of a server.
    pub names: Vec<String>,
    /// The addresses of a server.
    pub addresses: Vec<IpAddr>,
    /// The kubeconfig that holds it, if it has no file of its own.
    pub kubeconfig: Option<&'static str>,
}

/// Returns all certificates of a node.
pub(super) fn of_node(node: &NodeIdentity, cluster: &ClusterIdentity) -> Vec<Leaf> {
    let user = format!("system:node:{}", node.name);
    let own: Vec<IpAddr> = node.address.iter().collect();
    let mut leaves = vec![
        Leaf { organization: Some("system:nodes"), ..server("kubelet", Signer::Cluster, &user, &[&node.name], &own) },
        Leaf {
            organization: Some("system:nodes"),
            kubeconfig: Some(paths::KUBELET_CONF),
            ..client("kubelet-client", Signer::Cluster, &user)
        },
        Leaf { kubeconfig: Some(paths::KUBE_PROXY_CONF), ..client("kube-proxy", Signer::Cluster, "system:kube-proxy") },
        Leaf { kubeconfig: Some(paths::POLICY_CONF), ..client("kcl-policy", Signer::Cluster, "system:kcl-policy") },
    ];
    if node.role == Role::ControlPlane {
        let local = [&node.name, "localhost"];
        let near: Vec<IpAddr> = own.iter().copied().chain([LOOPBACK]).collect();
        leaves.extend([
            api_server(node, cluster),
            client("apiserver-kubelet-client", Signer::Cluster, "kube-apiserver-kubelet-client"),
            client("apiserver-etcd-client", Signer::Etcd, "kube-apiserver-etcd-client"),
            client("front-proxy-client", Signer::FrontProxy, "front-proxy-client"),
            // etcd's gateway is a client of its own server, with the server's certificate.
            Leaf { client: true, ..server("etcd/server", Signer::Etcd, &node.name, &local, &near) },
            Leaf { client: true, ..server("etcd/peer", Signer::Etcd, &node.name, &local, &near) },
            Leaf {
                kubeconfig: Some(paths::CONTROLLER_MANAGER_CONF),
                ..client("controller-manager", Signer::Cluster, "system:kube-controller-manager")
            },
            Leaf {
                kubeconfig: Some(paths::SCHEDULER_CONF),
                ..client("scheduler", Signer::Cluster, "system:kube-scheduler")
            },
        ]);
    }
    leaves
}

/// Returns the user's certificate.
pub(super) fn admin() -> Leaf {
    Leaf { organization: Some("system:masters"), ..client("admin", Signer::Cluster, "kubernetes-admin") }
}

/// Returns the certificate of a server in the cluster that is not part of Kubernetes. The CA of services signs it, which is
/// not one of those of Kubernetes.
pub(super) fn service(names: &[String]) -> Leaf {
    let first = names.first().map(String::as_str).unwrap_or("server");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    server("server", Signer::Cluster, first, &names, &[])
}

/// Returns the certificate of the API server. It names only this node, so another node in the cluster changes nothing
/// here.
fn api_server(node: &NodeIdentity, cluster: &ClusterIdentity) -> Leaf {
    let service = format!("kubernetes.default.svc.{}", cluster.dns_domain);
    let names = [&node.name, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", &service];
    // The first address of the service network is that of the service `kubernetes`.
    let first = cluster.service_cidr.hosts().next().into_iter().flat_map(Addresses::iter);
    let addresses: Vec<IpAddr> = node.address.iter().chain([LOOPBACK]).chain(first).collect();
    let mut leaf = server("apiserver", Signer::Cluster, "kube-apiserver", &names, &addresses);
    leaf.names.extend(cluster.apiserver_names.iter().cloned());
    leaf.addresses.extend(&cluster.apiserver_ips);
    leaf
}

fn client(name: &'static str, signer: Signer, common_name: &str) -> Leaf {
    Leaf { server: false, client: true, ..server(name, signer, common_name, &[], &[]) }
}

fn server(name: &'static str, signer: Signer, common_name: &str, names: &[&str], addresses: &[IpAddr]) -> Leaf {
    Leaf {
        name,
        signer,
        common_name: common_name.to_owned(),
        organization: None,
        server: true,
        client: false,
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        addresses: addresses.to_vec(),
        kubeconfig: None,
    }
}
