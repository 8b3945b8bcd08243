//! The target of a start: what the user wants, what exists, and the plan that leads from one to the other. Changes nothing.

use std::collections::BTreeSet;

use kcl_driver_api::Driver;

use super::planned::planned;
use super::{Scope, StartOptions};
use crate::app::App;
use crate::artifacts::NodeArtifacts;
use crate::artifacts::catalog::CATALOG;
use crate::bootstrap;
use crate::cluster::addons::Choice;
use crate::cluster::drivers;
use crate::config::{ClusterSpec, NodeConfig, Source};
use crate::error::Result;
use crate::plan::{Observed, Plan, plan};
use crate::state::{ClusterState, NodePhase, NodeRecord, Phase};

/// The target of a start.
pub(super) struct Target {
    /// The cluster that is wanted.
    pub spec: ClusterSpec,
    /// The addons that it is to have.
    pub addons: Choice,
    /// The driver of its machines, also of those that leave.
    pub driver: Box<dyn Driver>,
    /// The nodes that were emptied to be deleted.
    leaving: Vec<(NodeConfig, NodeRecord)>,
    /// The artifacts were in the cache, and the driver has them.
    equipped: bool,
    /// The cluster as it is; none if it is new.
    pub before: Option<ClusterState>,
    /// The way there.
    pub plan: Plan,
}

impl Target {
    /// Resolves what is wanted, looks up what exists, and plans.
    pub(super) async fn find(app: &App, options: &StartOptions, source: &Source) -> Result<Self> {
        let before = app.store.load(source.profile_name())?;
        let existing = before.as_ref().filter(|state| state.phase != Phase::Deleting);
        // A subnet that was found free belongs to the cluster from then on.
        let mut existing = existing.map(|state| ClusterSpec { subnet: Some(state.subnet), ..state.spec.clone() });
        let leaving = take_leaving(existing.as_mut(), before.as_ref());
        let mut spec = source.resolve(existing.as_ref().or(options.base.as_ref()))?;
        spec.kubernetes_version = CATALOG.kubernetes_version(&spec.kubernetes_version)?;
        if spec.nodes.iter().any(|node| node.driver.is_none()) && spec.driver.is_none() {
            spec.driver = Some(match drivers::choose(app).await {
                Err(error) if options.dry_run => {
                    app.progress.warn(error.to_string());
                    drivers::KINDS[0]
                }
                choice => choice?,
            });
        }
        let addons = Choice::make(app, &mut spec, existing.as_ref()).await?;
        let cached = drivers::cached(app, &spec)?;
        let driver = drivers::driver(&machines(&spec, &leaving), app.store.paths(), cached.as_ref())?;
        let observed = observe(driver.as_ref(), &spec, before).await?;
        let mut plan = plan(&spec, &observed)?;
        if let Some(only) = only(&options.scope, &spec, observed.state.as_ref()) {
            plan.limit_to(only);
        }
        for warning in bootstrap::advice(&spec, &plan) {
            app.progress.warn(warning);
        }
        let before = observed.state.filter(|_| !plan.new);
        if let Some(before) = &before {
            let changed = bootstrap::nodes_to_restart(before, &planned(&plan, spec.clone(), Some(before)));
            plan.restart(|name| changed.iter().any(|changed| changed == name));
        }
        Ok(Target { spec, addons, driver, leaving, equipped: cached.is_some(), before, plan })
    }

    /// Returns a driver with artifacts that were obtained only now; none if the first one has them.
    pub(super) fn equip(&self, app: &App, artifacts: &NodeArtifacts) -> Result<Option<Box<dyn Driver>>> {
        if self.equipped {
            return Ok(None);
        }
        drivers::driver(&machines(&self.spec, &self.leaving), app.store.paths(), Some(artifacts)).map(Some)
    }

    /// Returns a state with the nodes that leave, which are remembered until they are gone.
    pub(super) fn with_leaving(&self, mut state: ClusterState) -> ClusterState {
        for (config, record) in &self.leaving {
            state.spec.nodes.push(config.clone());
            state.nodes.push(record.clone());
        }
        state
    }

    /// Deletes what is left of the nodes that leave once their machines are gone: their certificates, and the networks of
    /// drivers that no other node has.
    pub(super) async fn clear_leaving(&self, app: &App) -> Result<()> {
        let stays =
            |kind| self.spec.nodes.iter().any(|node| self.spec.driver_of(node).is_ok_and(|other| other == kind));
        for (config, record) in &self.leaving {
            app.pki(&self.spec.name)?.forget_node(&record.name)?;
            let kind = self.spec.driver_of(config)?;
            if !stays(kind) {
                let spec = machines(&self.spec, &self.leaving);
                let driver = drivers::one(kind, &spec, app.store.paths(), None)?;
                driver.delete_network(&self.spec.name).await?;
            }
        }
        Ok(())
    }
}

/// Takes the nodes that were emptied to be deleted out of the spec of a cluster.
fn take_leaving(spec: Option<&mut ClusterSpec>, state: Option<&ClusterState>) -> Vec<(NodeConfig, NodeRecord)> {
    let (Some(spec), Some(state)) = (spec, state) else { return Vec::new() };
    let leaving: Vec<_> =
        state.drained().filter_map(|record| Some((spec.node(&record.name)?.clone(), record.clone()))).collect();
    spec.nodes.retain(|node| leaving.iter().all(|(config, _)| config.name != node.name));
    leaving
}

/// Returns a spec with all nodes that may have a machine.
fn machines(spec: &ClusterSpec, leaving: &[(NodeConfig, NodeRecord)]) -> ClusterSpec {
    let nodes = spec.nodes.iter().chain(leaving.iter().map(|(config, _)| config)).cloned();
    ClusterSpec { nodes: nodes.collect(), ..spec.clone() }
}

/// Returns the names of the nodes that a start is for, or none if it is for all.
fn only(scope: &Scope, spec: &ClusterSpec, state: Option<&ClusterState>) -> Option<BTreeSet<String>> {
    let joins = |name: &str| {
        let record = state.and_then(|state| state.node(name));
        record.is_none_or(|record| record.phase == NodePhase::Joining)
    };
    let names = spec.nodes.iter().map(|node| node.name.clone());
    match scope {
        Scope::All => None,
        Scope::Joining => Some(names.filter(|name| joins(name)).collect()),
        Scope::Node(name) => Some(BTreeSet::from([name.clone()])),
        Scope::None => Some(BTreeSet::new()),
    }
}

/// Looks up what exists of a cluster.
pub(super) async fn observe(driver: &dyn Driver, spec: &ClusterSpec, state: Option<ClusterState>) -> Result<Observed> {
    let machines = driver.list(Some(&spec.name)).await?;
    let free_subnet = match (&state, spec.subnet) {
        (Some(state), _) => state.subnet,
        (None, Some(subnet)) => subnet,
        (None, None) => driver.propose_subnet(&spec.name).await?,
    };
    let addresses = driver.addresses().await?;
    Ok(Observed { state, machines, free_subnet, addresses })
}
