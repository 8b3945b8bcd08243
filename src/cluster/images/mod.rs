//! `kcl image`: images on the nodes of a running cluster.

mod build;
mod env;
mod exchange;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::try_join_all;
use kcl_driver_api::{Machine, Power};
use serde::Serialize;

pub use build::{BuildRequest, build_image};
pub use env::image_env;
pub use exchange::{import_image, pull_images, push_image, save_images};

use super::drivers;
use super::interrupt::interruptible;
use super::nodes::known;
use crate::app::App;
use crate::error::{Error, Id, Result};
use crate::images::carry;
use crate::images::containerd::Containerd;
use crate::images::image::Image;
use crate::images::list::{ImageRow, union};
use crate::images::meter::{Meter, size};
use crate::images::reference::{familiar, in_node, is_digest, is_id, normalize};
use crate::images::send::{Sent, send, wait_visible};
use crate::images::source;
use crate::state::NodeRecord;

/// An image that was loaded onto nodes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadedImage {
    /// The id of the image.
    pub id: String,
    /// The names of the image.
    pub repo_tags: Vec<String>,
    /// The size of the image in bytes.
    pub size: u64,
    /// The amounts of data that were sent, by node.
    pub nodes: BTreeMap<String, Sent>,
}

/// Returns the machines of the nodes called `names`, or of all nodes; each must be running.
pub(super) async fn machines(app: &App, cluster: &str, names: &[String]) -> Result<Vec<Box<dyn Machine>>> {
    let state = app.existing(cluster)?;
    let wanted: Vec<&NodeRecord> = match names {
        [] => state.nodes.iter().collect(),
        names => names.iter().map(|name| known(&state, name)).collect::<Result<_>>()?,
    };
    let driver = drivers::driver_of(app, &state)?;
    let list = driver.list(Some(cluster)).await?;
    let runs = |node: &NodeRecord| list.iter().any(|info| info.name == node.machine && info.power == Power::Running);
    if let Some(node) = wanted.iter().find(|node| !runs(node)) {
        let hint = format!("start it with: kcl start -p {cluster}");
        return Err(Error::new(Id::NodeStopped, format!("node \"{}\" does not run", node.name)).hint(hint));
    }
    Ok(try_join_all(wanted.iter().map(|node| driver.machine(cluster, &node.machine))).await?)
}

/// Connects to containerd on the nodes called `names`, or on all nodes.
pub(super) async fn connect(app: &App, cluster: &str, names: &[String]) -> Result<Vec<Containerd>> {
    let machines = machines(app, cluster, names).await?;
    try_join_all(machines.into_iter().map(|machine| Containerd::connect(Arc::from(machine)))).await
}

/// Returns the directory that holds streams while they are read.
fn scratch(app: &App) -> PathBuf {
    app.store.paths().cache.join("scratch")
}

/// Loads the images that `words` name: files, directories, standard input (`-`) or images of a Docker engine.
pub async fn load_images(
    app: &App,
    cluster: &str,
    words: &[String],
    name: Option<&str>,
    nodes: &[String],
) -> Result<Vec<LoadedImage>> {
    let nodes = connect(app, cluster, nodes).await?;
    let work = async {
        let mut loaded = Vec::new();
        for word in words {
            for image in source::find(word, name, &scratch(app)).await? {
                loaded.push(distribute(app, &nodes, &image).await?);
                if image.names.iter().all(|name| is_id(name)) {
                    let id = image.id();
                    app.progress.info(format!("The image has no name; give it one with: kcl image tag {id} app:1"));
                }
            }
        }
        Ok(loaded)
    };
    interruptible(work).await
}

/// Sends an image to nodes, with a progress line.
async fn distribute(app: &App, nodes: &[Containerd], image: &Image) -> Result<LoadedImage> {
    distribute_from(app, None, nodes, image).await
}

/// Sends an image to nodes other than `origin`, which has it, with a progress line.
async fn distribute_from(
    app: &App,
    origin: Option<&Containerd>,
    nodes: &[Containerd],
    image: &Image,
) -> Result<LoadedImage> {
    let shown = image.names.iter().map(|name| familiar(name)).collect::<Vec<_>>().join(", ");
    let step = app.progress.step("image", format!("Loading {shown}"));
    let meter = Meter::new(&step, "sent");
    let mut sent = if nodes.is_empty() { BTreeMap::new() } else { send(nodes, image, &meter).await? };
    let all: Vec<Containerd> = nodes.iter().chain(origin).cloned().collect();
    carry::mark(&all, &image.names).await?;
    if let Some(origin) = origin {
        sent.insert(origin.node.clone(), Sent { sent: 0, present: image.size() });
    }
    let bytes = sent.values().map(|node| node.sent).fold(0, u64::saturating_add);
    let on = count(sent.len());
    step.finish(match bytes {
        0 => format!("{shown} is on {on}; nothing had to be sent"),
        bytes => format!("{shown} is on {on}; {} sent", size(bytes)),
    });
    let repo_tags = image.names.iter().filter(|name| !is_id(name)).cloned().collect();
    Ok(LoadedImage { id: image.id().to_owned(), repo_tags, size: image.size(), nodes: sent })
}

/// Lists the images of the nodes.
pub async fn list_images(app: &App, cluster: &str, nodes: &[String]) -> Result<Vec<ImageRow>> {
    let nodes = connect(app, cluster, nodes).await?;
    let list = async |node: &Containerd| {
        let images = node.images().await.map_err(|status| node.failed("list the images", &status))?;
        Ok::<_, Error>((node.node.clone(), images))
    };
    Ok(union(try_join_all(nodes.iter().map(list)).await?))
}

/// Removes names of images from the nodes, and images that have no name left. Returns the names that no node had.
pub async fn remove_images(app: &App, cluster: &str, names: &[String], nodes: &[String]) -> Result<Vec<String>> {
    let whole: Vec<String> = names.iter().map(|name| in_node(name)).collect::<Result<_>>()?;
    let nodes = connect(app, cluster, nodes).await?;
    let mut missing = Vec::new();
    for (name, given) in whole.iter().zip(names) {
        let removed = try_join_all(nodes.iter().map(|node| remove_image(node, name))).await?;
        if !removed.contains(&true) {
            missing.push(given.clone());
        }
    }
    Ok(missing)
}

async fn remove_image(node: &Containerd, name: &str) -> Result<bool> {
    let failed = |status| node.failed(&format!("remove {name}"), &status);
    let Some(image) = node.cri_image(name).await.map_err(failed)? else { return Ok(false) };
    let only_name = image.repo_tags.iter().all(|tag| tag == name);
    if only_name || is_digest(name) {
        node.remove_image(&image.id).await.map_err(failed)?;
    } else {
        node.forget_image(name).await.map_err(failed)?;
    }
    Ok(true)
}

/// Gives an image one more name, on the nodes that have it. Returns the number of these nodes.
pub async fn tag_image(app: &App, cluster: &str, source: &str, target: &str, nodes: &[String]) -> Result<usize> {
    let (from, to) = (in_node(source)?, normalize(target)?);
    let nodes = connect(app, cluster, nodes).await?;
    let tag = async |node: &Containerd| {
        let failed = |status| node.failed(&format!("tag {source}"), &status);
        let Some(descriptor) = node.image(&from).await.map_err(failed)? else { return Ok::<_, Error>(false) };
        let id = node.cri_image(&from).await.map_err(failed)?.unwrap_or_default().id;
        node.name_image(&to, &descriptor).await.map_err(failed)?;
        node.mark_image(&to).await.map_err(failed)?;
        wait_visible(node, &to, &id).await?;
        Ok(true)
    };
    let tagged = try_join_all(nodes.iter().map(tag)).await?.into_iter().filter(|tagged| *tagged).count();
    if tagged == 0 {
        return Err(unknown(source));
    }
    Ok(tagged)
}

/// Returns a number of nodes, in words.
pub(super) fn count(nodes: usize) -> String {
    if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") }
}

/// Returns the error that no node has such an image.
pub(super) fn unknown(name: &str) -> Error {
    Error::new(Id::ImageNotFound, format!("no node has an image {name}"))
        .hint("see what is there with: kcl image ls")
        .hint(format!("bring it in with: kcl image load {name}, or kcl image pull {name}"))
}
