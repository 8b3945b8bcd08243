//! Images of addons in running nodes: each image is sent to the nodes that lack it.

use std::sync::Arc;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Node;
use kcl_driver_api::Machine;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::definition::Addon;
use super::selection::Selected;
use crate::artifacts::ImageArchive;
use crate::digest;
use crate::error::{Error, Id, Result};
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

/// Returns the label of nodes that have the images of an addon; none if nodes have them from the start. Its pods are for
/// such nodes only: on a node that joins the cluster they would want their images before these are sent.
pub(super) fn label(addon: &Addon) -> Result<Option<(String, String)>> {
    let mut sent = addon.catalog_images()?;
    sent.retain(|image| !image.system);
    let references: Vec<&str> = sent.iter().map(|image| image.reference.as_str()).collect();
    let digest = digest::of_bytes(references.join(" ").as_bytes());
    Ok((!references.is_empty()).then(|| (format!("images.kcl.dev/{}", addon.name), digest[..16].to_owned())))
}

/// Labels nodes as having the images of these addons.
pub async fn mark_nodes(client: &kube::Client, nodes: &[String], selected: &[Selected]) -> Result<()> {
    let labels: Vec<_> = selected.iter().map(|one| label(&one.addon)).collect::<Result<_>>()?;
    let labels: serde_json::Map<_, _> = labels.into_iter().flatten().map(|(key, value)| (key, value.into())).collect();
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    let api: Api<Node> = Api::all(client.clone());
    let parameters = PatchParams::default();
    let patched = nodes.iter().map(|node| api.patch_metadata(node, &parameters, &patch));
    try_join_all(patched).await.map_err(|error| {
        Error::new(Id::ApiFailed, format!("nodes cannot be labeled as having images: {error}")).source(error)
    })?;
    Ok(())
}
