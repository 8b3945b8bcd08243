//! Images of addons in running nodes: each image is sent to the nodes that lack it.

use std::sync::Arc;

use futures::future::try_join_all;
use kcl_driver_api::Machine;

use crate::artifacts::ImageArchive;
use crate::error::Result;
use crate::images::containerd::Containerd;
use crate::images::meter::Meter;
use crate::images::send::send;
use crate::images::source;
use crate::progress::Step;

/// Sends images to the nodes that lack them. Returns how many were sent.
pub async fn ensure(machines: Vec<Box<dyn Machine>>, images: &[ImageArchive], step: &Step) -> Result<usize> {
    let nodes = try_join_all(machines.into_iter().map(|machine| Containerd::connect(Arc::from(machine)))).await?;
    let meter = Meter::new(step, "sent");
    let mut count = 0;
    for archive in images {
        let lacks = async |node: &Containerd| {
            let found = node.image(&archive.reference).await;
            let found = found.map_err(|status| node.failed("look at the images", &status))?;
            let has = found.is_some_and(|found| found.digest == archive.digest);
            Ok::<_, crate::error::Error>((!has).then(|| node.clone()))
        };
        let lacking: Vec<Containerd> = try_join_all(nodes.iter().map(lacks)).await?.into_iter().flatten().collect();
        if lacking.is_empty() {
            continue;
        }
        count += lacking.len();
        for image in source::of_archive(&archive.path).await? {
            send(&lacking, &image, &meter).await?;
        }
    }
    Ok(count)
}
