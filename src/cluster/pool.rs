//! `pool`: unused spare clusters, started ahead of time, that `run` takes so as not to wait for a new one.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;

use kcl_driver_api::Power;

use super::background::{self, guard};
use super::start::{Context, StartOptions, start};
use super::{delete, drivers};
use crate::app::App;
use crate::artifacts::catalog::CATALOG;
use crate::config::{self, ClusterSpec, Overrides};
use crate::error::{Error, Id, Result};
use crate::kubernetes;
use crate::state::{ClusterState, Lifetime, Phase};

/// Starts spare clusters until there are `size` that match `options`. Returns the number of clusters that it started.
///
/// # Errors
/// A spare cluster cannot be started.
pub async fn fill(app: &App, options: &StartOptions, size: usize) -> Result<usize> {
    let wanted = wanted(&options.overrides)?;
    let there = spares(app)?.iter().filter(|state| is_like(&state.spec, &wanted)).count();
    for _ in there..size {
        let overrides = Overrides { profile: Some(fresh_name("spare")), ..options.overrides.clone() };
        spare(app, &StartOptions { overrides, ..options.clone() }).await?;
    }
    Ok(size.saturating_sub(there))
}

/// Returns the spare clusters.
pub fn spares(app: &App) -> Result<Vec<ClusterState>> {
    let states = app.store.list()?.into_iter().filter_map(|(_, state)| state.ok());
    Ok(states.filter(|state| state.spare && state.phase == Phase::Created).collect())
}

/// Deletes the spare clusters. Returns the number of deleted clusters.
///
/// # Errors
/// A spare cluster cannot be deleted.
pub async fn drain(app: &App) -> Result<usize> {
    let mut count = 0;
    for state in spares(app)? {
        // A cluster that was taken in the meantime stays.
        count += usize::from(delete::delete_where(app, &state.spec.name, |state| state.spare).await?);
    }
    Ok(count)
}

/// Takes a spare cluster that works and matches `overrides`, and gives it this lifetime.
pub(super) async fn take(app: &App, overrides: &Overrides, lifetime: &Lifetime) -> Result<Option<ClusterState>> {
    let spares = spares(app)?;
    if spares.is_empty() {
        return Ok(None);
    }
    let wanted = wanted(overrides)?;
    for spare in spares.into_iter().filter(|state| is_like(&state.spec, &wanted)) {
        let name = spare.spec.name;
        let _lock = app.lock(&name).await?;
        // The kcl that held the lock before may have taken it.
        let Some(mut state) = app.store.load(&name)?.filter(|state| state.spare) else { continue };
        if works(app, &state).await.unwrap_or(false) {
            state.spare = false;
            state.lifetime = lifetime.clone();
            app.store.save(&state)?;
            guard::follow(app, &state).await?;
            return Ok(Some(state));
        }
        app.progress.warn(format!("the spare cluster \"{name}\" does not answer; `kcl pool drain` removes it"));
    }
    Ok(None)
}

/// Returns true if all nodes of a cluster run the artifacts that this kcl would start, and its API server is ready.
async fn works(app: &App, state: &ClusterState) -> Result<bool> {
    let current = drivers::cached(app, &state.spec)?.map(|artifacts| artifacts.key);
    let machines = drivers::driver_of(app, state)?.list(Some(&state.spec.name)).await?;
    let run = machines.len() == state.nodes.len() && machines.iter().all(|machine| machine.power == Power::Running);
    let current = state.nodes.iter().all(|node| node.artifacts == current);
    Ok(run && current && kubernetes::ready(&kubernetes::connect(&app.access(state)?)?).await)
}

/// Starts a process in the background that makes another spare cluster like `taken`.
pub(super) fn refill(app: &App, taken: &ClusterSpec) -> Result<()> {
    let failed =
        |error: std::io::Error| Error::new(Id::BackgroundFailed, format!("no spare cluster can be made: {error}"));
    let mut log = File::options();
    log.write(true).create(true).truncate(true).mode(0o600);
    let log = log.open(app.store.paths().home.join("pool.log")).map_err(failed)?;
    let mut command = background::command(app, ["pool", "refill"]).map_err(failed)?;
    let mut child = command.stdin(Stdio::piped()).stderr(log).spawn().map_err(failed)?;
    let spec = serde_json::to_vec(taken).map_err(|error| failed(error.into()))?;
    child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(&spec)).map_err(failed)
}

/// Starts a spare cluster with the specification that standard input holds.
pub async fn refilled(app: &App, options: &StartOptions) -> Result<()> {
    background::detach();
    let spec: ClusterSpec = serde_json::from_reader(std::io::stdin())
        .map_err(|error| Error::new(Id::ConfigInvalid, format!("standard input is no specification: {error}")))?;
    let name = fresh_name("spare");
    let overrides = Overrides { profile: Some(name.clone()), ..Overrides::default() };
    let base = Some(renamed(&spec, &name));
    spare(app, &StartOptions { overrides, base, ..options.clone() }).await
}

/// Starts a spare cluster; one that is not whole is deleted.
async fn spare(app: &App, options: &StartOptions) -> Result<()> {
    let options = StartOptions { spare: true, context: Context::Absent, ..options.clone() };
    let outcome = start(app, &options).await?;
    let name = outcome.plan.cluster.clone();
    if let Err(trouble) = outcome.whole() {
        delete::delete(app, &name).await?;
        return Err(trouble);
    }
    Ok(())
}

/// Returns a random name for a new cluster.
pub fn fresh_name(prefix: &str) -> String {
    // One of four billion; a name that is already in use is refused.
    let number = getrandom::u32().unwrap_or_else(|_| std::process::id());
    format!("{prefix}-{number:08x}")
}

/// Returns the specification that `overrides` and the configuration give a new cluster.
fn wanted(overrides: &Overrides) -> Result<ClusterSpec> {
    let mut spec = config::Source::read(overrides)?.resolve(None)?;
    spec.kubernetes_version = CATALOG.kubernetes_version(&spec.kubernetes_version)?;
    Ok(spec)
}

/// Returns true if a cluster matches the wanted one, except for its name and for a subnet or driver that is left open.
fn is_like(spec: &ClusterSpec, wanted: &ClusterSpec) -> bool {
    let mut spec = renamed(spec, &wanted.name);
    if wanted.subnet.is_none() {
        spec.subnet = None;
    }
    if wanted.driver.is_none() {
        spec.driver = None;
    }
    spec.accept_host_key = wanted.accept_host_key;
    spec == *wanted
}

/// Returns the same specification with another name and no subnet.
fn renamed(spec: &ClusterSpec, name: &str) -> ClusterSpec {
    let mut spec = ClusterSpec { name: name.to_owned(), subnet: None, ..spec.clone() };
    for (index, node) in spec.nodes.iter_mut().enumerate() {
        node.name = config::node_name(name, index);
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_alike_by_all_but_their_names() {
        let overrides = |name: &str, nodes| Overrides {
            profile: Some(name.to_owned()),
            nodes: Some(nodes),
            subnet: None,
            ..Overrides::default()
        };
        let spare = wanted(&overrides("spare", 2)).unwrap();
        assert!(is_like(&spare, &wanted(&overrides("run", 2)).unwrap()));
        assert!(!is_like(&spare, &wanted(&overrides("run", 3)).unwrap()));
        let subnet = Overrides { subnet: Some("10.89.7.0/24".to_owned()), ..overrides("run", 2) };
        assert!(!is_like(&spare, &wanted(&subnet).unwrap()));
    }
}
