//! The values that the phases of a start share.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kcl_driver_api::{Driver, Network};
use kcl_node_spec::resolv_conf::Resolvers;
use kube::api::DynamicObject;

use crate::addons::{Facts, Helm, Material, Selected};
use crate::artifacts::NodeArtifacts;
use crate::error::Error;
use crate::kubernetes::Access;
use crate::pki::Pki;
use crate::plan::{Journal, Plan};
use crate::progress::Progress;
use crate::state::{ClusterState, Configured, NodePhase};

/// The values that the phases work with.
#[derive(Clone, Copy)]
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
    /// The images, charts and manifests that the addons need. Without them, the addons stay as they are.
    pub material: Option<&'a Material>,
    /// The facts that the addons' templates use.
    pub facts: &'a Facts,
    /// The objects of the user's manifests.
    pub manifests: &'a [DynamicObject],
    /// Helm, for addons with a chart.
    pub helm: &'a Helm,
    /// The record of everything created, for a rollback.
    pub journal: &'a Journal,
    /// The receiver of progress.
    pub progress: &'a Progress,
    /// The state of the cluster that the user waits for.
    pub wait: Wait,
    /// The longest that the user waits.
    pub wait_timeout: Duration,
}

impl Bootstrap<'_> {
    /// Returns true if a node is new in a cluster that exists already: without it the cluster is as it was.
    pub fn joins(&self, node: &str) -> bool {
        let joining = self.state.node(node).is_some_and(|record| record.phase == NodePhase::Joining);
        joining && !self.plan.new
    }
}

/// The machines as a run has brought them up.
pub struct Machines {
    /// The time at which the run began with them.
    pub since: Timestamp,
    /// The names of the nodes that were started; the others ran already.
    pub started: Vec<String>,
    /// Digests of each node's configuration, by node.
    pub configured: BTreeMap<String, Configured>,
    /// The names of the running nodes that are still to be restarted with their new configuration, control planes first.
    pub restarts: Vec<String>,
    /// New nodes of an existing cluster whose machines could not be made, with the reasons.
    pub failed: Vec<(String, Error)>,
}

/// A cluster as a start has reached it.
pub struct Reached {
    /// The API of the cluster.
    pub access: Access,
    /// The failures beside a cluster that runs.
    pub troubles: Vec<Error>,
    /// New nodes of an existing cluster that did not become a part of it, and were removed.
    pub lost: Vec<String>,
}

/// The state of a cluster that `--wait` names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Wait {
    /// Nodes are Ready, DNS is available, and pods can be created.
    #[default]
    All,
    /// All nodes are Ready.
    Nodes,
    /// The API answers.
    Api,
}
