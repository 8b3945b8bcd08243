//! The resolvers of a cluster's nodes.

use kcl_node_spec::resolv_conf::{MOST_NAMESERVERS, Resolvers};

use crate::config::ClusterSpec;

/// Returns the resolvers in the cluster's configuration, or else those of the host.
pub fn for_cluster(spec: &ClusterSpec) -> Resolvers {
    match &spec.nameservers {
        Some(nameservers) => Resolvers { nameservers: nameservers.clone(), ..Resolvers::default() },
        None => of_host(),
    }
}

fn of_host() -> Resolvers {
    let mut found = Resolvers::find().map(|(_, found)| found).unwrap_or_default();
    // Nodes have IPv4 only.
    found.nameservers.retain(|address| address.is_ipv4());
    // The host's own programs ask no more than these.
    found.nameservers.truncate(MOST_NAMESERVERS);
    found
}
