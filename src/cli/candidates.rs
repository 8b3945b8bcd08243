//! Candidates for completion: the clusters, nodes, addons and other values that exist.

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use kcl_driver_api::DriverKind;

use crate::addons::Available;
use crate::artifacts::catalog::CATALOG;
use crate::cluster;
use crate::config::{DEFAULT_NAME, EXTRA_CONFIG_COMPONENTS};
use crate::state::{ClusterState, Paths, Store};

/// The names of clusters.
pub(super) fn profiles() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let clusters = store().and_then(|store| store.list().ok()).unwrap_or_default();
        clusters.into_iter().map(|(name, _)| CompletionCandidate::new(name)).collect()
    })
}

/// The nodes of the cluster that the command line names.
pub(super) fn nodes() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let nodes = state().map(|state| state.nodes).unwrap_or_default();
        nodes.into_iter().map(|node| CompletionCandidate::new(node.name)).collect()
    })
}

/// The names of the built-in addons.
pub(super) fn addons() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let Ok(addons) = Available::built_in() else { return Vec::new() };
        let candidate = |name: &str, what: &str| CompletionCandidate::new(name).help(Some(what.to_owned().into()));
        addons.iter().map(|addon| candidate(&addon.name, &addon.description.title)).collect()
    })
}

/// The versions of Kubernetes that this kcl knows.
pub(super) fn versions() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        CATALOG.kubernetes_choice().unwrap_or_default().into_iter().map(CompletionCandidate::new).collect()
    })
}

/// The names of the drivers.
pub(super) fn drivers() -> ArgValueCandidates {
    fixed(cluster::DRIVER_KINDS.map(DriverKind::name))
}

/// The components of nodes that have logs.
pub(super) fn components() -> ArgValueCandidates {
    fixed(cluster::log_names().collect::<Vec<_>>())
}

/// The components whose flags can be set.
pub(super) fn flags() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        EXTRA_CONFIG_COMPONENTS.iter().map(|name| CompletionCandidate::new(format!("{name}."))).collect()
    })
}

fn fixed(words: impl AsRef<[&'static str]> + Send + Sync + 'static) -> ArgValueCandidates {
    ArgValueCandidates::new(move || words.as_ref().iter().map(CompletionCandidate::new).collect())
}

fn store() -> Option<Store> {
    Paths::from_env().ok().map(Store::open)
}

/// The state of the cluster on the command line that is being completed, which are kcl's own arguments.
fn state() -> Option<ClusterState> {
    let words: Vec<_> = std::env::args().collect();
    let named = words.windows(2).rev().find(|pair| matches!(pair[0].as_str(), "-p" | "--profile"));
    let name = named.map(|pair| pair[1].clone()).or_else(|| std::env::var("KCL_PROFILE").ok());
    store()?.load(name.as_deref().unwrap_or(DEFAULT_NAME)).ok()?
}
