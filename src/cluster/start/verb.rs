//! `start`: creates a cluster, or whatever is missing of it.

use super::{Outcome, StartOptions, dry_run, locked};
use crate::app::App;
use crate::cluster::{lifetime, node};
use crate::config::Source;
use crate::error::Result;

/// Creates a cluster, or whatever is missing of it. If that fails or the user interrupts it, everything that this run
/// created is removed again. What fails beside a cluster that runs is reported with the outcome, and the cluster stays.
///
/// # Errors
/// See [`crate::error::Id`]; the cluster is as it was before, or the hints say what is left.
pub async fn start(app: &App, options: &StartOptions) -> Result<Outcome> {
    let source = Source::read(&options.overrides)?;
    if options.dry_run {
        return dry_run(app, options, &source).await;
    }
    lifetime::sweep(app).await;
    let lock = app.lock(source.profile_name()).await?;
    let (mut outcome, lock) = locked(app, options, &source, lock).await?;
    // A kcl that was to delete nodes may have been interrupted.
    outcome.troubles.extend(node::finish_departures(app, lock).await);
    Ok(outcome)
}
