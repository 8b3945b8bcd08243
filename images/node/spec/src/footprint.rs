//! The marks of a node on a host whose network it shares. The host's code has them as data: it knows nothing of
//! Kubernetes.

use ipnet::IpNet;

use crate::{NodeSpec, paths, ports};

/// The marks of a machine on a host whose network it shares.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// The kernel parameters that it sets, below `/proc/sys`; `*` stands for one name. The first ones change others, so
    /// they are restored first.
    pub parameters: &'static [&'static str],
    /// Tables of the packet filter that are its own.
    pub tables: &'static [&'static str],
    /// Tables of the packet filter that it shares with other programs.
    pub shared_tables: &'static [&'static str],
    /// The prefixes of its chains' names in shared tables.
    pub chains: &'static [&'static str],
    /// TCP ports that it listens on, on the address of the host or on loopback.
    pub ports: &'static [u16],
    /// Programs that manage the same things, by the names of their processes.
    pub rivals: &'static [&'static str],
    /// The document in the machine that [`Footprint::networks`] reads.
    pub document: &'static str,
    /// Reads the machine's networks from its document; returns `None` if the document is invalid.
    pub networks: fn(&[u8]) -> Option<Networks>,
}

/// The networks of a machine that shares its host's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks {
    /// Networks whose links on the host are the machine's.
    pub links: Vec<IpNet>,
    /// Networks whose routes on the host are the machine's.
    pub routes: Vec<IpNet>,
}

/// The marks of a node: of its agent, the kubelet, kube-proxy and the network plugins.
pub const FOOTPRINT: Footprint = Footprint {
    parameters: &[
        "net/ipv4/ip_forward",
        "net/ipv4/conf/all/forwarding",
        "net/ipv4/conf/default/forwarding",
        "net/ipv6/conf/all/forwarding",
        "net/ipv6/conf/default/forwarding",
        "net/ipv4/conf/*/forwarding",
        "net/ipv6/conf/*/forwarding",
        "net/ipv4/conf/*/accept_redirects",
        "net/ipv4/conf/*/rp_filter",
        "net/ipv4/conf/*/route_localnet",
        "net/ipv4/icmp_ratemask",
        "net/ipv4/vs/*",
        "net/bridge/*",
        "net/netfilter/nf_conntrack_max",
        "net/netfilter/nf_conntrack_tcp_be_liberal",
        "net/netfilter/nf_conntrack_tcp_timeout_established",
        "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
        "vm/overcommit_memory",
        "vm/panic_on_oom",
        "kernel/panic",
        "kernel/panic_on_oops",
        "kernel/keys/root_maxkeys",
        "kernel/keys/root_maxbytes",
    ],
    tables: &["kcl", "kcl-policy", "kube-proxy", "cni_hostport", "cni-hostport"],
    // The tables of iptables.
    shared_tables: &["filter", "nat", "mangle", "raw"],
    chains: &["KUBE-", "CNI-"],
    ports: &ports::ALL,
    rivals: &["kubelet", "k3s", "k3s-server", "k3s-agent", "k0s", "rke2", "kubelite", "kube-proxy"],
    document: paths::SPEC,
    networks,
};

/// Reads a node's networks from its spec. The host's end of a pod's link and the tunnels between nodes have addresses
/// of pods; routes lead to pods, services and networks of peers.
fn networks(document: &[u8]) -> Option<Networks> {
    let network = serde_json::from_slice::<NodeSpec>(document).ok()?.network;
    let links = network.cluster_cidr.iter().collect();
    let routes = network.cluster_cidr.iter().chain(network.service_cidr.iter());
    let routes = routes.chain(network.routes.iter().map(|route| route.to)).collect();
    Some(Networks { links, routes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_documents_have_no_networks() {
        assert_eq!((FOOTPRINT.networks)(b"{}"), None);
    }
}
