//! Addons: applied while nodes get ready, and those that the user asked for waited for.

use futures::future::try_join_all;
use kube::Client;

use super::{Bootstrap, Wait, ready};
use crate::addons::{Enabling, ensure_images};
use crate::error::{Error, Result};

/// Brings the addons to what is wanted, and sends the images first that nodes lack: a pod that finds none is in trouble.
pub async fn apply(bootstrap: &Bootstrap<'_>, client: &Client) -> Result<()> {
    let images = &bootstrap.material.images;
    if !images.is_empty() {
        let step = bootstrap.progress.step("images", "Images of addons");
        let machines = bootstrap
            .state
            .nodes
            .iter()
            .map(|node| bootstrap.driver.machine(&bootstrap.state.spec.name, &node.machine));
        let machines = try_join_all(machines).await?;
        // containerd among them, which takes the images.
        let looks = machines.iter().map(|machine| ready::wrong(bootstrap, machine.as_ref()));
        if let Some(error) = try_join_all(looks).await?.into_iter().flatten().next() {
            return Err(error);
        }
        let sent = ensure_images(machines, images, &step).await?;
        step.finish(format!("Images of addons are in the nodes ({sent} sent)"));
    }
    enabling(bootstrap, client).catch_up().await
}

/// Waits until the addons that the user asked for are ready.
pub async fn asked_are_ready(bootstrap: &Bootstrap<'_>, client: &Client) -> Result<()> {
    match bootstrap.wait {
        Wait::All => enabling(bootstrap, client).asked_are_ready().await,
        Wait::Nodes | Wait::Api => Ok(()),
    }
}

/// What to say when the user's time is up: which addons that he asked for are not ready, and why; none where there are
/// none.
pub async fn timed_out(bootstrap: &Bootstrap<'_>, client: &Client, seconds: u64) -> Option<Error> {
    let asked = bootstrap.addons.iter().filter(|one| one.asked).map(|one| one.addon.name.clone());
    let asked: Vec<String> = asked.collect();
    match asked.is_empty() {
        true => None,
        false => Some(enabling(bootstrap, client).timed_out(&asked, seconds).await),
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
