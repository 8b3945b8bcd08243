//! The phases by which machines become a cluster, a file each.

mod addons;
mod control_plane;
mod machines;
mod node;
mod ready;
pub mod resolvers;
mod system;

pub use kcl_node_spec::resolv_conf::Resolvers;
pub use machines::labels;
pub use node::node_spec;
pub use ready::Wait;
pub use system::HOST_NAME;

use std::collections::BTreeMap;
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
use crate::state::{ClusterState, Configured};

/// The values that the phases work with.
pub struct Bootstrap<'a> {
    /// The driver of the machines.
    pub driver: &'a dyn Driver,
    /// The artifacts that go into the machines.
    pub artifacts: &'a NodeArtifacts,
    /// The cluster's certificates and keys.
    pub pki: &'a Pki,
    /// The plan that is carried out.
    pub plan: &'a Plan,
    /// The state as the plan leaves it.
    pub state: &'a ClusterState,
    /// The network between the machines.
    pub network: &'a Network,
    /// The resolvers that nodes ask for names outside of the cluster.
    pub resolvers: &'a Resolvers,
    /// The addons that the cluster is to have.
    pub addons: &'a [Selected],
    /// The images, charts and manifests that the addons need.
    pub material: &'a Material,
    /// The facts that the addons' templates use.
    pub facts: &'a Facts,
    /// The record of everything created, for the way back.
    pub journal: &'a Journal,
    /// The receiver of progress.
    pub progress: &'a Progress,
    /// The state of the cluster that the user waits for.
    pub wait: Wait,
    /// The longest that the user waits.
    pub wait_timeout: Duration,
}

/// The machines as a run has brought them up.
pub struct Machines {
    /// The time at which the run began with them.
    pub since: Timestamp,
    /// The names of the nodes that were started; the others ran already.
    pub started: Vec<String>,
    /// Digests of each node's configuration, by node.
    pub configured: BTreeMap<String, Configured>,
}

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
        let bounded = async {
            control_plane::wait(self, &client).await?;
            system::apply(self, &client).await?;
            // Kubernetes tells time in whole seconds.
            let since = Timestamp::from_second(machines.since.as_second()).unwrap_or(machines.since);
            let fresh = Fresh { started: machines.started.clone(), since };
            try_join(ready::wait(self, &client, &fresh), addons::apply(self, &client)).await?;
            addons::asked_are_ready(self, &client).await
        };
        match tokio::time::timeout(self.wait_timeout, bounded).await {
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

/// Makes the error for components that fail again and again, from the output of the node's agent.
fn does_not_come_up(subject: &str, output: &[u8]) -> Error {
    let output = String::from_utf8_lossy(output);
    Error::new(Family::Cluster, format!("{subject} does not come up:\n{}", output.trim_end()))
        .hint("flags from --extra-config and --feature-gates are the usual cause")
        .hint("with --keep the cluster is left as it is, to look into: kcl logs, kcl ssh")
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
