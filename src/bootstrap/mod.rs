//! The phases by which machines become a cluster, a file each.

mod addons;
mod advice;
pub mod certificates;
mod context;
mod control_plane;
mod damage;
mod images;
mod join;
mod machines;
mod manifests;
pub mod members;
mod node;
mod ready;
pub mod resolvers;
mod restart;
mod system;
mod taints;

pub use advice::advice;
pub use context::{Bootstrap, Machines, Reached, Wait};
pub use join::forget as forget_nodes;
pub use kcl_node_spec::resolv_conf::Resolvers;
pub use machines::labels;
pub use manifests::read as read_manifests;
pub use node::node_spec;
pub use restart::changed as nodes_to_restart;
pub use system::HOST_NAME;

use futures::future::try_join5;
use jiff::Timestamp;
use kcl_node_spec::Role;
use kube::Client;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Result};
use crate::kubernetes::{self, Access, Fresh};
use crate::pki::Pki;
use crate::state::{ClusterState, NodeRecord};

impl Bootstrap<'_> {
    /// Brings up the machines of the plan, wave by wave. Nodes that have to be restarted are left to
    /// [`Bootstrap::kubernetes`] if the cluster serves.
    ///
    /// # Errors
    /// A machine cannot be created, configured or powered on.
    pub async fn machines(&self) -> Result<Machines> {
        let client = kubernetes::connect(&access(self.state, self.pki)?)?;
        if let Some(error) = images::hold(self, &client).await {
            self.progress.trouble(&error);
        }
        machines::start(self, async || kubernetes::serves(&client).await).await
    }

    /// Waits for the API, restarts nodes with a new configuration, applies the system manifests, the user's and the addons,
    /// and waits for what the user waits for. Once the control plane of an existing cluster answers, a failure is trouble
    /// beside it and no reason to stop it; for a new cluster this is so once its nodes are ready.
    ///
    /// # Errors
    /// `Cluster` if a component does not come up, `Timeout` if the user's time is up.
    pub async fn kubernetes(&self, machines: &mut Machines) -> Result<Reached> {
        let access = access(self.state, self.pki)?;
        let client = kubernetes::connect(&access)?;
        let until = Instant::now() + self.wait_timeout;
        let mut reached = Reached { access, troubles: Vec::new(), lost: Vec::new() };
        let core = async {
            control_plane::wait(self, &client).await?;
            if !machines.restarts.is_empty() {
                // Pods of a restarted node wait for components that may have no rights yet, as those of an older kcl.
                system::apply_rights(&client).await?;
            }
            restart::one_by_one(self, &client, machines).await
        };
        match timeout_at(until, core).await {
            Ok(result) => reached.troubles.extend(result?),
            Err(_) => return Err(ready::timed_out(&ready::missing(self).await, self.wait_timeout.as_secs())),
        }
        match timeout_at(until, self.rest(&client, machines, &mut reached, until)).await {
            Ok(result) => result?,
            Err(_) => {
                let late = self.timed_out(&client, &reached.access).await?;
                reached.troubles.push(late);
                let lost = join::not_ready(self, &client).await;
                join::give_up(self, &client, &lost, &mut reached).await;
            }
        }
        Ok(reached)
    }

    /// The part of a start that follows once the control plane answers.
    async fn rest(
        &self,
        client: &Client,
        machines: &mut Machines,
        reached: &mut Reached,
        until: Instant,
    ) -> Result<()> {
        let system::Applied { failed, late } = system::apply(self, client).await?;
        reached.troubles.extend(failed);
        for (name, error) in machines.failed.drain(..) {
            reached.troubles.push(error);
            join::give_up(self, client, &[name], reached).await;
        }
        let fresh = Fresh::new(machines.started.clone(), machines.since);
        let names = self.state.nodes.iter().map(|node| node.name.clone());
        let names = names.filter(|name| self.plan.is_for(name) && !reached.lost.contains(name));
        let names: Vec<String> = names.collect();
        let ready = async {
            match ready::wait(self, client, &names, &fresh).await {
                Err(error) if self.plan.new => Err(error),
                result => Ok(result.err()),
            }
        };
        let access = reached.access.clone();
        let addons = async { Ok(addons::apply(self, client, &access, &names, until).await) };
        // The user's manifests may need what addons define.
        let manifests = async { Ok(manifests::apply(self, client, until).await.err()) };
        let brought = async { Ok(images::bring(self, client).await) };
        let system = async { Ok(system::apply_late(self, client, late, until).await) };
        let (unready, failed, refused, images, late) = try_join5(ready, addons, manifests, brought, system).await?;
        reached.troubles.extend(failed.into_iter().chain(refused).chain(images).chain(late));
        if let Some(error) = unready {
            reached.troubles.push(error);
            let lost = join::not_ready(self, client).await;
            join::give_up(self, client, &lost, reached).await;
            if lost.is_empty() {
                // Pods of a node that is not ready would be waited for in vain.
                return Ok(());
            }
        }
        let renewed = |node: &&NodeRecord| {
            let (before, now) = (node.configured.as_ref(), machines.configured.get(&node.name));
            before.zip(now).is_some_and(|(before, now)| before.certificates != now.certificates)
        };
        if let Some(node) = self.state.nodes.iter().find(renewed) {
            kubernetes::reach_kubelet(client, &node.name).await;
        }
        reached.troubles.extend(addons::asked_are_ready(self, client, &access, until).await);
        Ok(())
    }

    /// Makes the error for a user whose time is up. An addon keeps a cluster waiting only if its nodes do not.
    ///
    /// # Errors
    /// The same, if a new cluster has no nodes that are ready.
    async fn timed_out(&self, client: &Client, access: &Access) -> Result<Error> {
        let missing = ready::missing(self).await;
        let seconds = self.wait_timeout.as_secs();
        if missing.is_empty()
            && let Some(error) = addons::timed_out(self, client, access, seconds).await
        {
            return Ok(error);
        }
        let error = ready::timed_out(&missing, seconds);
        if self.plan.new { Err(error) } else { Ok(error) }
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
