//! The start story: how machines become a cluster, as one short list of phases, a file each.

mod addons;
mod control_plane;
mod machines;
mod node;
mod ready;
mod resolvers;
mod system;

pub use machines::{POWER_OFF_GRACE, labels};
pub use node::{API_SERVER_PORT, api_server, node_spec, pod_cidr};
pub use ready::Wait;
pub use resolvers::Resolvers;
pub use system::HOST_NAME;

use std::net::Ipv4Addr;
use std::time::Duration;

use futures::future::try_join;
use ipnet::Ipv4Net;
use jiff::Timestamp;
use kcl_driver_api::{Driver, Network};
use kcl_node_spec::Role;

use crate::addons::{Facts, Material, Selected};
use crate::artifacts::NodeArtifacts;
use crate::cluster::{Journal, Plan};
use crate::config::ClusterSpec;
use crate::error::{Error, Family, Result};
use crate::kubernetes::{self, Access, Fresh};
use crate::pki::Pki;
use crate::progress::Progress;
use crate::state::ClusterState;

/// What the phases work with.
pub struct Bootstrap<'a> {
    /// Makes the machines.
    pub driver: &'a dyn Driver,
    /// What goes into them.
    pub artifacts: &'a NodeArtifacts,
    /// Who is who.
    pub pki: &'a Pki,
    /// What is about to be done.
    pub plan: &'a Plan,
    /// What connects the machines.
    pub network: &'a Network,
    /// The addons that the cluster is to have.
    pub addons: &'a [Selected],
    /// What they are made from.
    pub material: &'a Material,
    /// What their templates ask.
    pub facts: &'a Facts,
    /// What was made, for the way back.
    pub journal: &'a Journal,
    /// Where it is told.
    pub progress: &'a Progress,
    /// What the user waits for.
    pub wait: Wait,
    /// And how long at most.
    pub wait_timeout: Duration,
}

impl Bootstrap<'_> {
    /// Makes machines and a cluster of them, or what is missing of it. `state` is told what each node was told.
    pub async fn run(&self, state: &mut ClusterState) -> Result<Access> {
        let begun = Timestamp::now();
        let resolvers = Resolvers::for_cluster(&state.spec);
        let started = machines::start(self, state, &resolvers).await?;
        let access = self.access(state)?;
        let client = kubernetes::connect(&access)?;
        let bounded = async {
            control_plane::wait(self, state, &client).await?;
            system::apply(self, state, &resolvers, &client).await?;
            // Kubernetes tells time in whole seconds.
            let since = Timestamp::from_second(begun.as_second()).unwrap_or(begun);
            let fresh = Fresh { started, since };
            try_join(ready::wait(self, state, &client, &fresh), addons::apply(self, state, &client)).await?;
            addons::asked_are_ready(self, &client).await
        };
        match tokio::time::timeout(self.wait_timeout, bounded).await {
            Ok(result) => result?,
            Err(_) => return Err(self.timed_out(state, &client).await),
        }
        Ok(access)
    }

    /// What to say when the user's time is up: an addon keeps a cluster waiting only where its nodes do not.
    async fn timed_out(&self, state: &ClusterState, client: &kube::Client) -> Error {
        let missing = ready::missing(self, state).await;
        let seconds = self.wait_timeout.as_secs();
        if missing.is_empty()
            && let Some(error) = addons::timed_out(self, client, seconds).await
        {
            return error;
        }
        ready::timed_out(&missing, seconds)
    }

    /// The API and the administrator's credentials.
    pub fn access(&self, state: &ClusterState) -> Result<Access> {
        access(state, self.pki)
    }
}

/// What to say where components fail again and again; `said` is by the node's agent.
fn does_not_come_up(what: &str, said: &[u8]) -> Error {
    let said = String::from_utf8_lossy(said);
    Error::new(Family::Cluster, format!("{what} does not come up:\n{}", said.trim_end()))
        .hint("flags from --extra-config and --feature-gates are the usual cause")
        .hint("with --keep the cluster is left for a look: kcl logs, kcl ssh")
}

/// The API of a cluster and its administrator's credentials.
pub fn access(state: &ClusterState, pki: &Pki) -> Result<Access> {
    let control_plane =
        state.nodes.iter().find(|node| node.role == Role::ControlPlane).ok_or_else(|| {
            Error::new(Family::State, format!("cluster \"{}\" has no control plane", state.spec.name))
        })?;
    let credentials = pki.admin_credentials(state.spec.cert_expiration, Timestamp::now())?;
    let server = state.api.map_or_else(|| api_server(control_plane.address), |api| api.address);
    Ok(Access { server: format!("https://{server}"), credentials })
}

/// inotify instances that nodes of these roles open, counted on running clusters, with room for a dozen pods each.
pub fn inotify_instances(roles: impl Iterator<Item = Role>) -> u64 {
    roles
        .map(|role| match role {
            Role::ControlPlane => 36,
            Role::Worker => 16,
        })
        .sum()
}

/// The host's own address on a node network: the first.
pub fn gateway(subnet: Ipv4Net) -> Ipv4Addr {
    subnet.hosts().next().unwrap_or_else(|| subnet.network())
}

/// Addresses of a node network for services of type LoadBalancer, the first and the last: of a /24 from .200 to .250, of
/// others as large a part at their end. No node gets one of them. None where the network is smaller than a /27, which
/// nodes need for themselves.
pub fn load_balancer_pool(subnet: Ipv4Net) -> Option<(Ipv4Addr, Ipv4Addr)> {
    const MOST: u32 = 51;
    let hosts = (u32::MAX >> subnet.prefix_len().min(31)).saturating_sub(1);
    let (size, above) = ((hosts / 4).min(MOST), (hosts / 32).min(4));
    let last = u32::from(subnet.broadcast()) - 1 - above;
    (hosts > 16).then(|| (Ipv4Addr::from(last - (size - 1)), Ipv4Addr::from(last)))
}

/// The address of the cluster's DNS service: the tenth, as kubeadm has it.
pub fn cluster_dns(spec: &ClusterSpec) -> Ipv4Addr {
    spec.service_cidr.hosts().nth(9).unwrap_or_else(|| spec.service_cidr.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_room_for_load_balancers() {
        let pool = |net: &str| load_balancer_pool(net.parse().expect("a network")).map(|(a, b)| format!("{a}-{b}"));
        assert_eq!(pool("10.89.0.0/24").as_deref(), Some("10.89.0.200-10.89.0.250"));
        assert_eq!(pool("10.89.0.0/16").as_deref(), Some("10.89.255.200-10.89.255.250"));
        assert_eq!(pool("10.89.0.32/27").as_deref(), Some("10.89.0.56-10.89.0.62"));
        assert_eq!(pool("10.89.0.0/28"), None);
    }
}
