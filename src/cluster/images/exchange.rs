//! The exchange of images between nodes and files or registries.

use std::io::IsTerminal;
use std::path::Path;

use futures::future::try_join_all;
use kcl_files::NewFile;

use super::{LoadedImage, connect, distribute, scratch, unknown};
use crate::app::App;
use crate::artifacts::image_config::ImageConfig;
use crate::cluster::interrupt::interruptible;
use crate::error::{Error, Id, Result};
use crate::images::auth;
use crate::images::carry;
use crate::images::containerd::Containerd;
use crate::images::image::Image;
use crate::images::meter::{Meter, size};
use crate::images::reference::{familiar, in_node, normalize};
use crate::images::save;
use crate::images::source::node;
use crate::images::source::{looks_like_path, rootfs};

/// Creates an image of one layer on nodes, from the archive of a root file system (`-`: standard input).
pub async fn import_image(
    app: &App,
    cluster: &str,
    archive: &str,
    name: &str,
    run: &ImageConfig,
    nodes: &[String],
) -> Result<LoadedImage> {
    let name = normalize(name)?;
    let nodes = connect(app, cluster, nodes).await?;
    let work = async {
        let image = rootfs::image(archive, name, run, &scratch(app)).await?;
        distribute(app, &nodes, &image).await
    };
    interruptible(work).await
}

/// Writes images of nodes to an archive; without a path, to standard output. As for minikube, the last of several names
/// is the archive if it looks like a path and no node has such an image.
pub async fn save_images(
    app: &App,
    cluster: &str,
    names: &[String],
    to: Option<&Path>,
    nodes: &[String],
) -> Result<()> {
    let nodes = connect(app, cluster, nodes).await?;
    let (names, to) = match names {
        [names @ .., last] if to.is_none() && !names.is_empty() && is_archive(&nodes, last).await? => {
            (names, Some(Path::new(last)))
        }
        names => (names, to),
    };
    let to = to.filter(|path| *path != Path::new("-"));
    if to.is_none() && std::io::stdout().is_terminal() {
        return Err(Error::new(Id::FlagInvalid, "an archive is not written to a terminal")
            .hint("name a file with -o FILE, or send it on: kcl image save app:1 | docker load"));
    }
    let mut images: Vec<Image> = Vec::new();
    for name in names {
        let found = locate(&nodes, &in_node(name)?).await?;
        let image = found.ok_or_else(|| unknown(name))?.1;
        // Several names may stand for the same image.
        match images.iter_mut().find(|one| one.manifest.descriptor.digest == image.manifest.descriptor.digest) {
            Some(one) => one.names.extend(image.names),
            None => images.push(image),
        }
    }
    let step = app.progress.step("image", format!("Saving {}", names.join(", ")));
    let meter = Meter::new(&step, "written");
    let write = async {
        let Some(path) = to else {
            return save::write(&images, &mut tokio::io::stdout(), "standard output", &meter).await;
        };
        let shown = path.display().to_string();
        let failed =
            |error: std::io::Error| Error::new(Id::FileUnwritable, format!("{shown} cannot be written: {error}"));
        let file = NewFile::create(path).map_err(failed)?;
        let mut out = tokio::fs::File::from_std(file.file().try_clone().map_err(failed)?);
        save::write(&images, &mut out, &shown, &meter).await?;
        out.sync_all().await.map_err(failed)?;
        file.commit(0o600).map_err(failed)
    };
    interruptible(write).await?;
    let bytes = images.iter().map(Image::size).fold(0, u64::saturating_add);
    step.finish(format!("{} {} saved: {}", names.join(", "), if names.len() == 1 { "is" } else { "are" }, size(bytes)));
    Ok(())
}

/// Returns true for an argument that names an archive and no image.
async fn is_archive(nodes: &[Containerd], word: &str) -> Result<bool> {
    if word == "-" {
        return Ok(true);
    }
    match normalize(word) {
        _ if !looks_like_path(word) => Ok(false),
        Ok(name) => Ok(locate(nodes, &name).await?.is_none()),
        Err(_) => Ok(true),
    }
}

/// Returns the first node that has an image, and the image.
pub(super) async fn locate(nodes: &[Containerd], name: &str) -> Result<Option<(Containerd, Image)>> {
    for one in nodes {
        if let Some(image) = node::find(one, name).await? {
            return Ok(Some((one.clone(), image)));
        }
    }
    Ok(None)
}

/// Makes nodes pull images from their registries, as the kubelet does.
pub async fn pull_images(app: &App, cluster: &str, names: &[String], nodes: &[String]) -> Result<()> {
    let nodes = connect(app, cluster, nodes).await?;
    let work = async {
        for name in names {
            let whole = normalize(name)?;
            let auth = auth::find(&whole).await;
            let step = app.progress.step("image", format!("Pulling {}", familiar(&whole)));
            let pull = async |node: &Containerd| {
                let hint = "what the registry wants to know is taken from docker login; a registry of the cluster: kcl addons enable registry";
                let failed = |status| node.failed(&format!("pull {name}"), &status).hint(hint);
                node.pull(&whole, auth.clone()).await.map_err(failed)
            };
            try_join_all(nodes.iter().map(pull)).await?;
            carry::mark(&nodes, std::slice::from_ref(&whole)).await?;
            step.finish(format!("{} is on {}", familiar(&whole), super::count(nodes.len())));
        }
        Ok(())
    };
    interruptible(work).await
}

/// Makes a node push an image to its registry.
pub async fn push_image(app: &App, cluster: &str, name: &str, nodes: &[String]) -> Result<()> {
    let whole = normalize(name)?;
    let containerds = connect(app, cluster, nodes).await?;
    let (node, _) = locate(&containerds, &whole).await?.ok_or_else(|| unknown(name))?;
    let step = app.progress.step("image", format!("Pushing {}", familiar(&whole)));
    let push = async {
        let pushed = node.push(&whole, auth::find(&whole).await).await;
        pushed.map_err(|status| {
            node.failed(&format!("push {name}"), &status)
                .hint("a registry of the cluster, localhost:5000 in image names: kcl addons enable registry")
                .hint("credentials are taken from: docker login")
        })
    };
    interruptible(push).await?;
    step.finish(format!("{} is pushed", familiar(&whole)));
    Ok(())
}
