//! Addons: they are applied while nodes get ready; a start waits for those that the user asked for.

use futures::future::try_join_all;
use kube::Client;
use tokio::time::Instant;

use super::{Bootstrap, Wait, ready};
use crate::addons::{Enabling, ensure_images};
use crate::error::{Error, Result};

/// Applies the addons. Images that nodes lack are sent first, as a pod without its image fails.
pub async fn apply(bootstrap: &Bootstrap<'_>, client: &Client, until: Instant) -> Result<()> {
    let images = &bootstrap.material.images;
    if !images.is_empty() {
        let step = bootstrap.progress.step("images", "Images of addons");
        let machines = bootstrap
            .state
            .nodes
            .iter()
            .map(|node| bootstrap.driver.machine(&bootstrap.state.spec.name, &node.machine));
        let machines = try_join_all(machines).await?;
        // containerd, which receives the images, is one of the components.
        let looks = machines.iter().map(|machine| ready::wrong(bootstrap, machine.as_ref()));
        if let Some(error) = try_join_all(looks).await?.into_iter().flatten().next() {
            return Err(error);
        }
        let sent = ensure_images(machines, images, &step).await?;
        step.finish(format!("Images of addons are in the nodes ({sent} sent)"));
    }
    enabling(bootstrap, client, until).catch_up().await
}

/// Waits until the addons that the user asked for are ready.
pub async fn asked_are_ready(bootstrap: &Bootstrap<'_>, client: &Client, until: Instant) -> Result<()> {
    match bootstrap.wait {
        Wait::All => enabling(bootstrap, client, until).asked_are_ready().await,
        Wait::Nodes | Wait::Api => Ok(()),
    }
}

/// Returns the error for a timeout, which names the addons that the user asked for and that are not ready, with the
/// reasons; none if all are ready.
pub async fn timed_out(bootstrap: &Bootstrap<'_>, client: &Client, seconds: u64) -> Option<Error> {
    let asked = bootstrap.addons.iter().filter(|one| one.asked).map(|one| one.addon.name.clone());
    let asked: Vec<String> = asked.collect();
    match asked.is_empty() {
        true => None,
        false => Some(enabling(bootstrap, client, Instant::now()).timed_out(&asked, seconds).await),
    }
}

fn enabling<'a>(bootstrap: &'a Bootstrap<'_>, client: &'a Client, until: Instant) -> Enabling<'a> {
    Enabling {
        client,
        selected: bootstrap.addons,
        facts: bootstrap.facts,
        material: bootstrap.material,
        progress: bootstrap.progress,
        until,
    }
}
