//! `node start`: one node is powered on, by the steps of a start that is for this node only.

use kcl_node_spec::Role;

use super::super::nodes;
use super::super::start::{Outcome, Scope, StartOptions, locked};
use super::{client_of, open, runs};
use crate::app::App;
use crate::config::{Overrides, Source};
use crate::error::Result;

/// Starts one node. Returns none if it runs already.
///
/// # Errors
/// `NotFound` if the cluster does not have the node; those of a start.
pub async fn start(app: &App, cluster: &str, node: &str, options: StartOptions) -> Result<Option<Outcome>> {
    app.existing(cluster)?;
    let lock = app.lock(cluster).await?;
    let (state, driver) = open(app, cluster)?;
    let record = nodes::known(&state, node)?;
    if runs(driver.as_ref(), &state, &record.machine).await? {
        return Ok(None);
    }
    // Nothing answers a node that comes up without a control plane.
    if record.role == Role::Worker {
        client_of(app, &state).await?;
    }
    let overrides = Overrides { profile: Some(cluster.to_owned()), ..options.overrides };
    let scope = Scope::Node(node.to_owned());
    let options = StartOptions { overrides, scope, ..options };
    let source = Source::read(&options.overrides)?;
    locked(app, &options, &source, lock).await.map(|(outcome, _)| Some(outcome))
}
