//! Addons: they are applied while nodes get ready; a start waits for those that the user asked for. What fails here is
//! trouble beside a cluster that runs.

use kcl_driver_api::Machine;
use kube::Client;
use tokio::time::Instant;

use super::{Bootstrap, Wait, ready};
use crate::addons::{Enabling, Material, ensure_images, mark_nodes};
use crate::artifacts::ImageArchive;
use crate::error::{Error, Result};
use crate::kubernetes::Access;

/// Applies the addons. Images that these nodes lack are sent first, as a pod without its image fails. Returns what failed.
pub(super) async fn apply(
    bootstrap: &Bootstrap<'_>,
    client: &Client,
    access: &Access,
    nodes: &[String],
    until: Instant,
) -> Vec<Error> {
    let Some(material) = bootstrap.material else { return Vec::new() };
    let mut failed = Vec::new();
    if !material.images.is_empty() {
        failed.extend(send_images(bootstrap, client, nodes, &material.images).await.err());
    }
    failed.extend(enabling(bootstrap, client, access, material, until).catch_up().await);
    failed
}

async fn send_images(
    bootstrap: &Bootstrap<'_>,
    client: &Client,
    nodes: &[String],
    images: &[ImageArchive],
) -> Result<()> {
    let step = bootstrap.progress.step("images", "Images of addons");
    let (mut names, mut machines) = (Vec::new(), Vec::<Box<dyn Machine>>::new());
    for node in bootstrap.state.nodes.iter().filter(|node| nodes.contains(&node.name)) {
        let machine = bootstrap.driver.machine(&bootstrap.state.spec.name, &node.machine).await?;
        // containerd, which receives the images, is one of the components. The wait for nodes reports those that fail.
        if ready::wrong(bootstrap, machine.as_ref()).await?.is_none() {
            names.push(node.name.clone());
            machines.push(machine);
        }
    }
    let sent = ensure_images(machines, images, &step).await?;
    mark_nodes(client, &names, bootstrap.addons).await?;
    step.finish(format!("Images of addons are in the nodes ({sent} sent)"));
    Ok(())
}

/// Waits until the addons that the user asked for are ready. Returns what failed.
pub(super) async fn asked_are_ready(
    bootstrap: &Bootstrap<'_>,
    client: &Client,
    access: &Access,
    until: Instant,
) -> Vec<Error> {
    match bootstrap.material {
        Some(material) if bootstrap.wait == Wait::All => {
            enabling(bootstrap, client, access, material, until).asked_are_ready().await
        }
        _ => Vec::new(),
    }
}

/// Returns the error for a timeout, which names the addons that the user asked for and that are not ready, with the
/// reasons; none if all are ready.
pub(super) async fn timed_out(
    bootstrap: &Bootstrap<'_>,
    client: &Client,
    access: &Access,
    seconds: u64,
) -> Option<Error> {
    let material = bootstrap.material?;
    let asked = bootstrap.addons.iter().filter(|one| one.asked).map(|one| one.addon.name.clone());
    let asked: Vec<String> = asked.collect();
    match asked.is_empty() {
        true => None,
        false => Some(enabling(bootstrap, client, access, material, Instant::now()).timed_out(&asked, seconds).await),
    }
}

fn enabling<'a>(
    bootstrap: &'a Bootstrap<'_>,
    client: &'a Client,
    access: &'a Access,
    material: &'a Material,
    until: Instant,
) -> Enabling<'a> {
    Enabling {
        client,
        access,
        selected: bootstrap.addons,
        facts: bootstrap.facts,
        material,
        helm: bootstrap.helm,
        progress: bootstrap.progress,
        until,
    }
}
