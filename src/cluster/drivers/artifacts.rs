//! Artifacts that are already in the cache, for a driver of a cluster that exists.

use kcl_driver_api::Driver;

use super::{driver, wants_kernel};
use crate::app::App;
use crate::artifacts::catalog::CATALOG;
use crate::artifacts::{Artifacts, NodeArtifacts, Want};
use crate::config::{ClusterSpec, DEFAULT_NAME};
use crate::error::Result;
use crate::state::ClusterState;

/// Returns a driver for an existing cluster, with the artifacts that it was made from if they are still cached.
pub(crate) fn driver_of(app: &App, state: &ClusterState) -> Result<Box<dyn Driver>> {
    let artifacts = cached(app, &state.spec)?;
    driver(&state.spec, app.store.paths(), artifacts.as_ref())
}

/// Returns cached artifacts of any version: their tools, such as nft and runc, suffice where no cluster is needed.
pub(crate) fn any_cached(app: &App) -> Option<NodeArtifacts> {
    let versions = CATALOG.kubernetes_versions().unwrap_or_default().into_iter();
    let specs = versions.map(|version| ClusterSpec {
        kubernetes_version: version.to_string(),
        ..ClusterSpec::with_defaults(DEFAULT_NAME)
    });
    // A damaged cache counts as an empty one here.
    specs.filter_map(|spec| cached(app, &spec).ok().flatten()).next()
}

/// Returns the artifacts of a cluster if they are cached.
pub(crate) fn cached(app: &App, spec: &ClusterSpec) -> Result<Option<NodeArtifacts>> {
    if !app.store.paths().cache.exists() {
        // A mere look must not create the cache.
        return Ok(None);
    }
    let artifacts = Artifacts::open(&app.store.paths().cache, Default::default())?;
    let vm = wants_kernel(spec);
    Ok(artifacts.cached(&Want { vm, ..Want::cluster(&spec.kubernetes_version) }))
}
