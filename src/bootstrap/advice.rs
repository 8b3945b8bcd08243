//! Advice on a cluster that will start, but not do what the user expects.

use std::fs;

use kcl_node_spec::resolv_conf::{self, FILES};

use super::resolvers;
use crate::config::ClusterSpec;
use crate::plan::Plan;

/// The kubelet's own default.
const MAX_PODS: u32 = 110;

/// Returns what the user should know about a cluster before it starts.
pub fn advice(spec: &ClusterSpec, plan: &Plan) -> Vec<String> {
    let unreachable = spec.nameservers.is_none() && resolvers::for_cluster(spec).nameservers.is_empty();
    let unresolved = || unresolved(&fs::read_to_string(FILES[0]).unwrap_or_default());
    max_pods(spec, plan).into_iter().chain(unreachable.then(unresolved).flatten()).collect()
}

/// Pods beyond the addresses of a node are scheduled there, and stay in ContainerCreating.
fn max_pods(spec: &ClusterSpec, plan: &Plan) -> Option<String> {
    let set = spec.extra_config.get("kubelet").and_then(|flags| flags.get("max-pods"));
    // A value that is not a number is the kubelet's to refuse.
    let wanted: u32 = set.map_or(Some(MAX_PODS), |value| value.parse().ok())?;
    let shares = plan.nodes().filter_map(|node| node.pod_cidr.v4());
    let smallest = shares.max_by_key(|share| share.prefix_len())?;
    // All but the addresses of the network itself, of its gateway, and for broadcasts.
    let room = (1_u64 << (32 - smallest.prefix_len())).saturating_sub(3);
    let source = if set.is_some() { "kubelet.max-pods is" } else { "by default kubelet.max-pods is" };
    (u64::from(wanted) > room).then(|| {
        format!(
            "{source} {wanted}, but a node has addresses for {room} pods ({smallest}): others would stay in \
             ContainerCreating; set kubelet.max-pods to {room} or less, and use more nodes"
        )
    })
}

/// The text of the host's resolver file names resolvers, of which nodes reach none.
fn unresolved(text: &str) -> Option<String> {
    let named = resolv_conf::named(text);
    (!named.is_empty()).then(|| {
        format!(
            "nodes do not reach the resolvers of this host ({} in {}) by IPv4, so pods find only names of the cluster; \
             name others with --nameservers",
            named.join(", "),
            FILES[0]
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_that_only_the_host_reaches_are_named() {
        let text = unresolved("# one\nnameserver 127.0.0.1\nnameserver fe80::1%eth0\n").unwrap();
        assert!(text.contains("127.0.0.1, fe80::1%eth0") && text.contains("--nameservers"), "{text}");
        assert_eq!(unresolved("search example.org\n"), None);
    }
}
