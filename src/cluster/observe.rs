//! What is there: kcl's memory and the driver's knowledge.

use kcl_driver_api::Driver;

use super::{App, Observed, drivers};
use crate::artifacts::catalog::CATALOG;
use crate::artifacts::{Artifacts, NodeArtifacts, Want};
use crate::config::{ClusterSpec, DEFAULT_NAME};
use crate::error::Result;
use crate::state::ClusterState;

/// What is there of a cluster.
pub async fn observe(app: &App, driver: &dyn Driver, spec: &ClusterSpec) -> Result<Observed> {
    let state = app.store.load(&spec.name)?;
    let machines = driver.list(Some(&spec.name)).await?;
    let free_subnet = match (&state, spec.subnet) {
        (Some(state), _) => state.subnet,
        (None, Some(subnet)) => subnet,
        (None, None) => driver.propose_subnet(&spec.name).await?,
    };
    let addresses = driver.addresses().await?;
    Ok(Observed { state, machines, free_subnet, addresses })
}

/// A driver for a cluster that is there, with the artifacts that it was made from where they are still cached.
pub fn driver_of(app: &App, state: &ClusterState) -> Result<Box<dyn Driver>> {
    let artifacts = cached(app, &state.spec)?;
    drivers::driver(&state.spec, app.store.paths(), artifacts.as_ref())
}

/// The artifacts of any version that are cached: tools of them, such as nft and runc, do for what needs no cluster.
pub fn any_cached(app: &App) -> Option<NodeArtifacts> {
    let versions = CATALOG.kubernetes_versions().unwrap_or_default().into_iter();
    let specs = versions.map(|version| ClusterSpec {
        kubernetes_version: version.to_string(),
        ..ClusterSpec::with_defaults(DEFAULT_NAME)
    });
    // A damaged cache is as good as none here.
    specs.filter_map(|spec| cached(app, &spec).ok().flatten()).next()
}

/// The artifacts of a cluster where they are cached.
pub fn cached(app: &App, spec: &ClusterSpec) -> Result<Option<NodeArtifacts>> {
    if !app.store.paths().cache.exists() {
        // Only to look is no reason to make it.
        return Ok(None);
    }
    let artifacts = Artifacts::open(&app.store.paths().cache, Default::default())?;
    let vm = drivers::wants_kernel(spec);
    Ok(artifacts.cached(&Want { vm, ..Want::cluster(&spec.kubernetes_version) }))
}
