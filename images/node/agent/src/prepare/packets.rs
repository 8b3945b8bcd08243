//! The node's own packet rules: pods reach the world, and nodes on other segments, with the node's address, and packets
//! to a service address without a backend are refused.
//!
//! Without the second rule, a packet to a service that kube-proxy does not know yet would leave by the default route
//! and be lost: the client would wait for its timeout, five seconds for a resolver, instead of retrying.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use kcl_node_spec::{Addresses, NodeSpec};

use crate::error::Result;
use crate::supervise::Reaper;

/// Replaces the agent's table in one transaction.
pub(super) async fn apply(spec: &NodeSpec, reaper: &Reaper) -> Result<()> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]);
    reaper.run(command, Some(&ruleset(spec)?)).await
}

/// Leads what is for the Service `kubernetes` to this API server. kube-proxy would spread it over all of them, also over one
/// that was lost, until its lease ends after 15 s. Without an address kube-proxy decides again.
pub(crate) async fn lead_to_api(spec: &NodeSpec, server: Option<SocketAddr>, reaper: &Reaper) -> Result<()> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]);
    reaper.run(command, Some(&way_to_api(spec, server))).await
}

fn way_to_api(spec: &NodeSpec, server: Option<SocketAddr>) -> String {
    let mut text = "table ip kcl-api\ndelete table ip kcl-api\n".to_owned();
    let service = spec.network.service_cidr.hosts().next().and_then(Addresses::v4);
    if let (Some(service), Some(server)) = (service, server) {
        text.push_str("table ip kcl-api {\n");
        // kube-proxy's chains have the priority dstnat, and a connection that has its destination is not theirs any more.
        for hook in ["prerouting", "output"] {
            let _ = write!(
                text,
                "\tchain {hook} {{\n\
                 \t\ttype nat hook {hook} priority -110; policy accept;\n\
                 \t\tip daddr {service} tcp dport 443 dnat to {server}\n\
                 \t}}\n"
            );
        }
        text.push_str("}\n");
    }
    text
}

fn ruleset(spec: &NodeSpec) -> Result<String> {
    let mut nodes = spec.address.require_v4()?.to_string();
    // Pods reach a peer behind the tunnel with its own address, as the segment may not carry theirs; and a response to
    // theirs would come back through the tunnel, so that a firewall on the path would see half of the connection.
    for peer in spec.network.peers.iter().filter(|peer| !peer.overlay) {
        let _ = write!(nodes, ", {}", peer.address.require_v4()?);
    }
    let pods = spec.network.cluster_cidr.require_v4()?;
    // Packets to a service that kube-proxy serves have another destination by the time of the filter (DNAT comes
    // first). The rest is refused before a route is looked up: a host may have none, and a resolver does not see "no
    // route".
    let services = spec.network.service_cidr.require_v4()?;
    // The first line makes the second one valid if there is no table yet.
    Ok(format!(
        "table ip kcl\n\
         delete table ip kcl\n\
         table ip kcl {{\n\
         \tchain postrouting {{\n\
         \t\ttype nat hook postrouting priority srcnat; policy accept;\n\
         \t\tip saddr {pods} ip daddr != {pods} ip daddr != {{ {nodes} }} masquerade\n\
         \t}}\n\
         \tchain prerouting {{\n\
         \t\ttype filter hook prerouting priority dstnat + 10; policy accept;\n\
         \t\tip daddr {services} reject with icmp port-unreachable\n\
         \t}}\n\
         \tchain output {{\n\
         \t\ttype filter hook output priority filter; policy accept;\n\
         \t\tip daddr {services} reject with icmp port-unreachable\n\
         \t}}\n\
         }}\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;

    #[test]
    fn pods_keep_their_address_and_unserved_services_refuse() {
        let text = ruleset(&spec()).unwrap();
        let rule = "ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 ip daddr != { 10.111.0.2, 10.111.0.3 } masquerade";
        assert!(text.contains(rule), "{text}");
        assert_eq!(text.matches("ip daddr 10.96.0.0/16 reject with icmp port-unreachable").count(), 2, "{text}");
    }

    #[test]
    fn the_service_of_the_api_leads_to_one_server() {
        let text = way_to_api(&spec(), Some("10.111.0.3:6443".parse().unwrap()));
        assert_eq!(text.matches("ip daddr 10.96.0.1 tcp dport 443 dnat to 10.111.0.3:6443").count(), 2, "{text}");
        assert!(!way_to_api(&spec(), None).contains("dnat"));
    }

    #[test]
    fn pods_take_their_nodes_address_to_nodes_behind_the_tunnel() {
        let mut spec = spec();
        spec.network.peers[0].overlay = true;
        assert!(ruleset(&spec).unwrap().contains("ip daddr != { 10.111.0.2 } masquerade"));
    }
}
