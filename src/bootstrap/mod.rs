//! The phases by which machines become a cluster, a file each.

mod addons;
mod advice;
mod context;
mod control_plane;
mod machines;
mod manifests;
mod node;
mod ready;
pub mod resolvers;
mod system;

pub use advice::advice;
pub use context::{Bootstrap, Machines, Wait};
pub use kcl_node_spec::resolv_conf::Resolvers;
pub use machines::labels;
pub use manifests::read as read_manifests;
pub use node::node_spec;
pub use system::HOST_NAME;

use futures::future::try_join;
use jiff::Timestamp;
use kcl_node_spec::Role;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::kubernetes::{self, Access, Fresh};
use crate::pki::Pki;
use crate::state::ClusterState;

impl Bootstrap<'_> {
    /// Brings up the machines of the plan, wave by wave.
    ///
    /// # Errors
    /// A machine cannot be created, configured or powered on.
    pub async fn machines(&self) -> Result<Machines> {
        machines::start(self).await
    }

    /// Waits for the API, applies the system manifests, the user's and the addons, and waits for what the user waits for.
    ///
    /// # Errors
    /// `Cluster` if a component does not come up, `Timeout` if the user's time is up.
    pub async fn kubernetes(&self, machines: &Machines) -> Result<Access> {
        let access = access(self.state, self.pki)?;
        let client = kubernetes::connect(&access)?;
        let until = Instant::now() + self.wait_timeout;
        let bounded = async {
            control_plane::wait(self, &client).await?;
            system::apply(self, &client, until).await?;
            // Kubernetes tells time in whole seconds.
            let since = Timestamp::from_second(machines.since.as_second()).unwrap_or(machines.since);
            let fresh = Fresh { started: machines.started.clone(), since };
            // The user's manifests may need what addons define.
            let addons = try_join(addons::apply(self, &client, until), manifests::apply(self, &client, until));
            try_join(ready::wait(self, &client, &fresh), addons).await?;
            addons::asked_are_ready(self, &client, until).await
        };
        match tokio::time::timeout_at(until, bounded).await {
            Ok(result) => result?,
            Err(_) => return Err(self.timed_out(&client).await),
        }
        Ok(access)
    }

    /// Makes the error for a user whose time is up. An addon keeps a cluster waiting only if its nodes do not.
    async fn timed_out(&self, client: &kube::Client) -> Error {
        let missing = ready::missing(self).await;
        let seconds = self.wait_timeout.as_secs();
        if missing.is_empty()
            && let Some(error) = addons::timed_out(self, client, seconds).await
        {
            return error;
        }
        ready::timed_out(&missing, seconds)
    }
}

/// Returns the API of a cluster and its administrator's credentials.
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
