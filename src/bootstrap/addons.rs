//! Addons: applied while nodes get ready, and those that the user asked for waited for.

use futures::future::try_join_all;
use kube::Client;

use super::{Bootstrap, Wait};
use crate::addons::{Enabling, ensure_images};
use crate::error::Result;
use crate::state::ClusterState;

/// Brings the addons to what is wanted.
pub async fn apply(bootstrap: &Bootstrap<'_>, client: &Client) -> Result<()> {
    enabling(bootstrap, client).catch_up().await
}

/// Sends the images that nodes lack, and waits until the addons that the user asked for are ready.
pub async fn ready(bootstrap: &Bootstrap<'_>, state: &ClusterState, client: &Client) -> Result<()> {
    let images = &bootstrap.material.images;
    if !images.is_empty() {
        let step = bootstrap.progress.step("images", "Images of addons");
        let machines = state.nodes.iter().map(|node| bootstrap.driver.machine(&state.spec.name, &node.name));
        let sent = ensure_images(&try_join_all(machines).await?, images).await?;
        step.finish(format!("Images of addons are in the nodes ({sent} sent)"));
    }
    match bootstrap.wait {
        Wait::All => enabling(bootstrap, client).asked_are_ready().await,
        Wait::Nodes | Wait::Api => Ok(()),
    }
}

fn enabling<'a>(bootstrap: &'a Bootstrap<'_>, client: &'a Client) -> Enabling<'a> {
    Enabling {
        client,
        selected: bootstrap.addons,
        facts: bootstrap.facts,
        material: bootstrap.material,
        progress: bootstrap.progress,
    }
}
