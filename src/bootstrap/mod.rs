//! The start story: how machines become a cluster, as one short list of phases, a file each.

mod addons;
mod control_plane;
mod machines;
mod node;
mod ready;
mod resolvers;
mod system;

pub use kcl_node_spec::resolv_conf::Resolvers;
pub use machines::labels;
pub use node::node_spec;
pub use ready::Wait;
pub use system::HOST_NAME;

use std::time::Duration;

use futures::future::try_join;
use jiff::Timestamp;
use kcl_driver_api::{Driver, Network};
use kcl_node_spec::Role;

use crate::addons::{Facts, Material, Selected};
use crate::artifacts::NodeArtifacts;
use crate::error::{Error, Family, Result};
use crate::kubernetes::{self, Access, Fresh};
use crate::pki::Pki;
use crate::plan::{Journal, Plan};
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
        let resolvers = resolvers::for_cluster(&state.spec);
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
    let credentials = pki.admin_credentials(state.spec.cert_expiration, Timestamp::now())?;
    Ok(Access { server: format!("https://{}", state.endpoint()?), credentials })
}

/// Returns the inotify instances that a node of this role opens, counted on running clusters, with room for a dozen pods.
pub fn inotify_instances(role: Role) -> u64 {
    match role {
        Role::ControlPlane => 36,
        Role::Worker => 16,
    }
}
