//! `node add`: a further node, by the steps of a start that is for this node only.

use super::super::start::{Outcome, Scope, StartOptions, dry_run, locked};
use super::client_of;
use crate::app::App;
use crate::config::{NewNode, Overrides, Source};
use crate::error::Result;
use crate::state::NodePhase;

/// Adds a node to a cluster that runs, or finishes adding one.
///
/// # Errors
/// Those of a start; the cluster is as it was before, or the hints say what is left.
pub async fn add(app: &App, cluster: &str, new: NewNode, options: StartOptions) -> Result<Outcome> {
    app.existing(cluster)?;
    if options.dry_run {
        let options = wanted(app, cluster, new, options)?;
        return dry_run(app, &options, &Source::read(&options.overrides)?).await;
    }
    let lock = app.lock(cluster).await?;
    client_of(app, &app.existing(cluster)?).await?;
    let options = wanted(app, cluster, new, options)?;
    let source = Source::read(&options.overrides)?;
    locked(app, &options, &source, lock).await.map(|(outcome, _)| outcome)
}

/// Returns the options of the start that adds a node. A node of this name whose addition was interrupted has its settings
/// already.
fn wanted(app: &App, cluster: &str, new: NewNode, options: StartOptions) -> Result<StartOptions> {
    let state = app.existing(cluster)?;
    let record = new.name.as_deref().and_then(|name| state.node(name));
    let resumes = record.is_some_and(|record| record.phase == NodePhase::Joining);
    let overrides =
        Overrides { profile: Some(cluster.to_owned()), new_node: Some(new).filter(|_| !resumes), ..options.overrides };
    Ok(StartOptions { overrides, scope: Scope::Joining, ..options })
}
