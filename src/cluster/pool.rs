//! `pool`: spare clusters, started ahead, that `run` takes rather than wait for a fresh one. Nobody has used them.

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
use crate::error::{Error, Family, Result};
use crate::kubernetes;
use crate::state::{ClusterState, Lifetime, Phase};

/// Makes spare clusters until there are `size` as `options` want them. Returns how many were made.
///
/// # Errors
/// One cannot be started.
pub async fn fill(app: &App, options: &StartOptions, size: usize) -> Result<usize> {
    let wanted = wanted(&options.overrides)?;
    let there = spares(app)?.iter().filter(|state| is_like(&state.spec, &wanted)).count();
    for _ in there..size {
        let overrides = Overrides { profile: Some(fresh_name("spare")), ..options.overrides.clone() };
        start(app, &StartOptions { overrides, spare: true, context: Context::Absent, ..options.clone() }).await?;
    }
    Ok(size.saturating_sub(there))
}

/// The spare clusters.
pub fn spares(app: &App) -> Result<Vec<ClusterState>> {
    let states = app.store.list()?.into_iter().filter_map(|(_, state)| state.ok());
    Ok(states.filter(|state| state.spare && state.phase == Phase::Created).collect())
}

/// Deletes the spare clusters. Returns how many there were.
///
/// # Errors
/// One resists.
pub async fn drain(app: &App) -> Result<usize> {
    let mut count = 0;
    for state in spares(app)? {
        // One that was taken meanwhile stays.
        count += usize::from(delete::delete_where(app, &state.spec.name, |state| state.spare).await?);
    }
    Ok(count)
}

/// Takes a spare that is as `overrides` want a cluster, and works; from then on it has this lifetime.
pub async fn take(app: &App, overrides: &Overrides, lifetime: &Lifetime) -> Result<Option<ClusterState>> {
    let spares = spares(app)?;
    if spares.is_empty() {
        return Ok(None);
    }
    let wanted = wanted(overrides)?;
    for spare in spares.into_iter().filter(|state| is_like(&state.spec, &wanted)) {
        let name = spare.spec.name;
        let _lock = app.lock(&name).await?;
        // Who was waited for may have taken it.
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

/// Whether all nodes of a cluster run what this kcl would start, and its API answers.
async fn works(app: &App, state: &ClusterState) -> Result<bool> {
    let current = drivers::cached(app, &state.spec)?.map(|artifacts| artifacts.key);
    let machines = drivers::driver_of(app, state)?.list(Some(&state.spec.name)).await?;
    let run = machines.len() == state.nodes.len() && machines.iter().all(|machine| machine.power == Power::Running);
    let current = state.nodes.iter().all(|node| node.artifacts == current);
    Ok(run && current && kubernetes::ready(&kubernetes::connect(&app.access(state)?)?).await)
}

/// Has another one like `taken` made, in the background.
pub fn refill(app: &App, taken: &ClusterSpec) -> Result<()> {
    let failed = |error: std::io::Error| Error::new(Family::Host, format!("no spare cluster can be made: {error}"));
    let mut log = File::options();
    log.write(true).create(true).truncate(true).mode(0o600);
    let log = log.open(app.store.paths().home.join("pool.log")).map_err(failed)?;
    let mut command = background::command(app, ["pool", "refill"]).map_err(failed)?;
    let mut child = command.stdin(Stdio::piped()).stderr(log).spawn().map_err(failed)?;
    let spec = serde_json::to_vec(taken).map_err(|error| failed(error.into()))?;
    child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(&spec)).map_err(failed)
}

/// Makes a spare like a cluster whose specification is read from standard input.
pub async fn refilled(app: &App, options: &StartOptions) -> Result<()> {
    background::detach();
    let spec: ClusterSpec = serde_json::from_reader(std::io::stdin())
        .map_err(|error| Error::new(Family::Usage, format!("standard input is no specification: {error}")))?;
    let name = fresh_name("spare");
    let overrides = Overrides { profile: Some(name.clone()), ..Overrides::default() };
    let base = Some(renamed(&spec, &name));
    start(app, &StartOptions { overrides, base, spare: true, context: Context::Absent, ..options.clone() }).await?;
    Ok(())
}

/// A name that no other cluster has.
pub fn fresh_name(prefix: &str) -> String {
    // Four billion of them; a taken one is refused.
    let number = getrandom::u32().unwrap_or_else(|_| std::process::id());
    format!("{prefix}-{number:08x}")
}

/// What a cluster of any name would be.
fn wanted(overrides: &Overrides) -> Result<ClusterSpec> {
    let mut spec = config::Source::read(overrides)?.resolve(None)?;
    spec.kubernetes_version = CATALOG.kubernetes_version(&spec.kubernetes_version)?;
    Ok(spec)
}

/// Whether a cluster is what is wanted, but for its name and its subnet where none is wanted.
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

/// The same cluster by another name, in a network of its own.
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
