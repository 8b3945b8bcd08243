//! The target of a start: what the user wants, what exists, and the plan that leads from one to the other. Changes nothing.

use kcl_driver_api::Driver;

use super::StartOptions;
use super::planned::planned;
use crate::app::App;
use crate::artifacts::NodeArtifacts;
use crate::artifacts::catalog::CATALOG;
use crate::bootstrap;
use crate::cluster::addons::Choice;
use crate::cluster::drivers;
use crate::config::{ClusterSpec, Source};
use crate::error::Result;
use crate::plan::{Observed, Plan, plan};
use crate::state::{ClusterState, Phase};

/// The target of a start.
pub struct Target {
    /// The cluster that is wanted.
    pub spec: ClusterSpec,
    /// The addons that it is to have.
    pub addons: Choice,
    /// The driver of its machines.
    pub driver: Box<dyn Driver>,
    /// The artifacts were in the cache, and the driver has them.
    equipped: bool,
    /// The cluster as it is; none if it is new.
    pub before: Option<ClusterState>,
    /// The way there.
    pub plan: Plan,
}

impl Target {
    /// Resolves what is wanted, looks up what exists, and plans.
    pub async fn find(app: &App, options: &StartOptions, source: &Source) -> Result<Self> {
        let before = app.store.load(source.profile_name())?;
        let existing = before.as_ref().filter(|state| state.phase != Phase::Deleting);
        // A subnet that was found free belongs to the cluster from then on.
        let existing = existing.map(|state| ClusterSpec { subnet: Some(state.subnet), ..state.spec.clone() });
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
        let driver = drivers::driver(&spec, app.store.paths(), cached.as_ref())?;
        let observed = observe(driver.as_ref(), &spec, before).await?;
        let mut plan = plan(&spec, &observed)?;
        for warning in bootstrap::advice(&spec, &plan) {
            app.progress.warn(warning);
        }
        let before = observed.state.filter(|_| !plan.new);
        if let Some(before) = &before {
            let changed = bootstrap::nodes_to_restart(before, &planned(&plan, spec.clone(), Some(before)));
            plan.restart(|name| changed.iter().any(|changed| changed == name));
        }
        Ok(Target { spec, addons, driver, equipped: cached.is_some(), before, plan })
    }

    /// Returns a driver with artifacts that were obtained only now; none if the first one has them.
    pub fn equip(&self, app: &App, artifacts: &NodeArtifacts) -> Result<Option<Box<dyn Driver>>> {
        if self.equipped {
            return Ok(None);
        }
        drivers::driver(&self.spec, app.store.paths(), Some(artifacts)).map(Some)
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
