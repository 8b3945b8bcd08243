//! Images that users brought to a cluster, for nodes that join it: they are marked in the nodes that have them.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::try_join_all;
use kcl_driver_api::Machine;

use super::containerd::Containerd;
use super::meter::Meter;
use super::send::send;
use super::source::node::find;
use crate::error::Result;
use crate::progress::Step;

/// Marks images of nodes as brought by a user.
pub async fn mark(nodes: &[Containerd], names: &[String]) -> Result<()> {
    let mark = async |node: &Containerd| {
        for name in names {
            node.mark_image(name).await.map_err(|status| node.failed(&format!("mark {name}"), &status))?;
        }
        Ok(())
    };
    try_join_all(nodes.iter().map(mark)).await.map(drop)
}

/// Returns true if a user has brought an image to one of these nodes.
pub async fn is_wanted(machines: Vec<Box<dyn Machine>>) -> Result<bool> {
    for node in connect(machines).await? {
        if !marked(&node).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Gives nodes the images that a user has brought to others. Returns the number of images that were sent.
pub async fn carry(from: Vec<Box<dyn Machine>>, to: Vec<Box<dyn Machine>>, step: &Step) -> Result<usize> {
    let (from, to) = (connect(from).await?, connect(to).await?);
    let meter = Meter::new(step, "sent");
    let mut sent = BTreeSet::new();
    for node in &from {
        for name in marked(node).await? {
            if sent.contains(&name) {
                continue;
            }
            if let Some(image) = find(node, &name).await? {
                send(&to, &image, &meter).await?;
                mark(&to, std::slice::from_ref(&name)).await?;
                sent.insert(name);
            }
        }
    }
    Ok(sent.len())
}

async fn connect(machines: Vec<Box<dyn Machine>>) -> Result<Vec<Containerd>> {
    try_join_all(machines.into_iter().map(|machine| Containerd::connect(Arc::from(machine)))).await
}

async fn marked(node: &Containerd) -> Result<Vec<String>> {
    node.marked_images().await.map_err(|status| node.failed("list the images", &status))
}
