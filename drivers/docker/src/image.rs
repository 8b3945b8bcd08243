//! Assembles the node image from the trees that a machine is made of, a layer each, and loads it into the engine once.
//!
//! The image is named after its trees, and stays in the engine for the next cluster. It is removed when the trees are
//! no longer in kcl's cache: at the next deletion of a cluster, or when another image is loaded.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base16ct::lower::encode_string;
use bollard::models::{ContainerConfig, ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, CreateContainerOptionsBuilder, ImportImageOptionsBuilder, ListImagesOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptions, WaitContainerOptions,
};
use futures::TryStreamExt;
use kcl_driver_api::{Error, MachineSpec, Result};
use kcl_driver_local::task::blocking;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::archive::{self, Layer, Measured};
use crate::capabilities::Bounds;
use crate::context::Context;
use crate::engine::{Engine, EngineContext as _, status};
use crate::names::{HOME, labelled};

/// The repository of images, which is in no registry.
const REPOSITORY: &str = "kcl.local/node";

/// The label with the trees that the image was made of, one path per line.
const SOURCES: &str = "kcl.docker.sources";

/// The label with the capabilities that the engine can give.
const CAPABILITIES: &str = "kcl.docker.capabilities";

/// The directories in which programs of a machine are searched.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The constant that is written instead of a time, so that the same trees make the same image.
const LONG_AGO: &str = "1970-01-01T00:00:00Z";

/// An image in the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// The name of the image.
    pub reference: String,
    /// The capabilities that its containers can have.
    pub bounds: Bounds,
}

/// Returns the image of a machine, and loads it if the engine does not have it.
pub(crate) async fn ensure(context: &Context, spec: &MachineSpec) -> Result<Image> {
    let engine = context.engine().await?;
    let layers = layers(spec);
    let tag = tag(&layers);
    let reference = format!("{REPOSITORY}:{tag}");
    if let Some(image) = find(engine, &reference).await? {
        return Ok(image);
    }
    // Machines that are made at once want the same image.
    let _loading = context.loading.lock().await;
    if let Some(image) = find(engine, &reference).await? {
        return Ok(image);
    }
    let home = context.names().await?.homes()?.swap_remove(0);
    // The image is tried before it gets its name, so one that has it is whole.
    let raw = format!("{reference}-untried");
    if engine.docker.inspect_image(&raw).await.if_found(|| format!("look for the image {raw}"))?.is_none() {
        load(engine, &raw, layers, &home).await?;
    }
    let bounds = try_out(engine, &raw, &tag).await?;
    remove(engine, &raw).await?;
    remove_outdated(engine, &home).await?;
    Ok(Image { reference, bounds })
}

async fn find(engine: &Engine, reference: &str) -> Result<Option<Image>> {
    let found = engine.docker.inspect_image(reference).await.if_found(|| format!("look for the image {reference}"))?;
    let labels = found.and_then(|image| image.config).and_then(|config| config.labels);
    let bounds = labels.and_then(|labels| Bounds::parse(labels.get(CAPABILITIES)?));
    Ok(bounds.map(|bounds| Image { reference: reference.to_owned(), bounds }))
}

/// Returns the layers: the root file system lowest, then the trees, the first of a machine on top. The first is the
/// agent, which changes with every version of kcl, and layers are shared as long as all below are the same.
fn layers(spec: &MachineSpec) -> Vec<Layer> {
    let root = Layer { source: spec.rootfs.clone(), target: PathBuf::from("/") };
    let trees = spec.trees.iter().rev();
    let trees = trees.map(|tree| Layer { source: tree.source.clone(), target: tree.target.clone() });
    std::iter::once(root).chain(trees).collect()
}

/// Returns the tag, from the names of the trees, which in kcl's cache follow from their inputs, and their targets.
fn tag(layers: &[Layer]) -> String {
    let mut sha = Sha256::new();
    for layer in layers {
        let parts: Vec<_> = layer.source.components().rev().take(2).collect();
        for part in parts.iter().rev().map(|part| part.as_os_str()).chain([layer.target.as_os_str()]) {
            sha.update(part.as_encoded_bytes());
            sha.update([0]);
        }
    }
    encode_string(&sha.finalize()[..8])
}

/// Streams the image to the engine as an archive of `docker save`, which all engines read.
async fn load(engine: &Engine, reference: &str, layers: Vec<Layer>, home: &str) -> Result<()> {
    tracing::info!("loading the node image into the engine");
    let what = || "assemble the node image";
    let arch = engine.facts.arch.clone();
    let (name, home) = (reference.to_owned(), home.to_owned());
    let body = blocking(move || {
        let measured = layers.iter().map(Layer::measure).collect::<io::Result<Vec<_>>>();
        let measured = measured.map_err(|error| failed(error.into(), what()))?;
        let config = config(&arch, &layers, &measured, &home).to_string();
        Ok(archive::pieces(move |out| write_image(out, &name, &layers, &measured, &config)))
    })
    .await?;
    let answers = engine.docker.import_image(
        ImportImageOptionsBuilder::default().quiet(true).build(),
        bollard::body_try_stream(body),
        None,
    );
    let answers: Vec<_> = answers.try_collect().await.with_context(|| "load the node image into the engine")?;
    tracing::debug!("{answers:?}");
    Ok(())
}

/// Adds what was attempted to an error that is a driver's already.
fn failed(mut error: Error, what: &str) -> Error {
    error.message = format!("could not {what}: {}", error.message);
    error
}

/// Returns the image's configuration (image-spec 1.1, config.md).
fn config(arch: &str, layers: &[Layer], measured: &[Measured], home: &str) -> Value {
    let architecture = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let sources: Vec<_> = layers.iter().map(|layer| layer.source.to_string_lossy()).collect();
    json!({
        "architecture": architecture,
        "os": "linux",
        "created": LONG_AGO,
        "config": {
            "Env": [format!("PATH={PATH}"), "HOME=/root", "container=kcl"],
            "WorkingDir": "/",
            "Labels": { HOME: home, SOURCES: sources.join("\n") },
        },
        "rootfs": { "type": "layers", "diff_ids": measured.iter().map(|one| &one.digest).collect::<Vec<_>>() },
        "history": layers.iter().map(|layer| json!({
            "created": LONG_AGO,
            "created_by": format!("kcl {}", layer.target.display()),
        })).collect::<Vec<_>>(),
    })
}

fn write_image(
    mut out: &mut dyn Write,
    reference: &str,
    layers: &[Layer],
    measured: &[Measured],
    config: &str,
) -> io::Result<()> {
    let names: Vec<String> = (0..layers.len()).map(|index| format!("layer-{index}.tar")).collect();
    for ((layer, measured), name) in layers.iter().zip(measured).zip(&names) {
        write_header(&mut out, name, measured.size)?;
        let mut counted = Counted { out: &mut out, left: measured.size };
        layer.write(&mut counted)?;
        if counted.left != 0 {
            return Err(io::Error::other(format!("{} changed while it was read", layer.source.display())));
        }
        // Archives are whole blocks, and so is this one inside the other.
    }
    let manifest = json!([{ "Config": "config.json", "RepoTags": [reference], "Layers": names }]).to_string();
    for (name, text) in [("config.json", config), ("manifest.json", &manifest)] {
        write_header(&mut out, name, text.len() as u64)?;
        out.write_all(text.as_bytes())?;
        out.write_all(&vec![0; text.len().next_multiple_of(512) - text.len()])?;
    }
    out.write_all(&[0; 1024])
}

fn write_header(out: &mut impl Write, name: &str, size: u64) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    out.write_all(header.as_bytes())
}

/// Limits a writer to the announced size.
struct Counted<W> {
    out: W,
    left: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(|| io::Error::other("a tree grew while it was read"))?;
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Finds the capabilities that the engine can give: those of the parent of a container's first process, the engine's
/// shim, which a container in the engine's PID namespace sees. The result is kept with the image.
async fn try_out(engine: &Engine, raw: &str, tag: &str) -> Result<Bounds> {
    let docker = &engine.docker;
    let name = format!("kcl-probe-{tag}");
    remove_container(engine, &name).await?;
    let line = "exec cat /proc/$PPID/status";
    let probe = ContainerCreateBody {
        image: Some(raw.to_owned()),
        entrypoint: Some(["/bin/sh", "-c", line].map(str::to_owned).to_vec()),
        host_config: Some(HostConfig {
            pid_mode: Some("host".to_owned()),
            userns_mode: Some("host".to_owned()),
            network_mode: Some("none".to_owned()),
            security_opt: Some(vec!["apparmor=unconfined".to_owned()]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let what = || "try out what the engine can give to containers";
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    docker.create_container(Some(options), probe).await.with_context(what)?;
    let tried = async {
        docker.start_container(&name, None).await.with_context(what)?;
        let ended: Vec<_> =
            docker.wait_container(&name, None::<WaitContainerOptions>).try_collect().await.with_context(what)?;
        let logs = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let said: Vec<_> = docker.logs(&name, Some(logs)).try_collect().await.with_context(what)?;
        let said: String = said.iter().map(ToString::to_string).collect();
        let bounds = Bounds::of_status(&said).ok_or_else(|| {
            Error::engine(format!("could not {}: it ended with {ended:?} and wrote {said:?}", what()))
        })?;
        let changes = format!("LABEL {CAPABILITIES}={bounds}");
        let options = CommitContainerOptionsBuilder::default();
        let options = options.container(&name).repo(REPOSITORY).tag(tag).pause(false).changes(&changes).build();
        docker.commit_container(options, ContainerConfig::default()).await.with_context(|| "name the node image")?;
        Ok(bounds)
    }
    .await;
    remove_container(engine, &name).await?;
    tried
}

async fn remove_container(engine: &Engine, name: &str) -> Result<()> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    engine.docker.remove_container(name, Some(options)).await.if_found(|| format!("remove {name}")).map(|_| ())
}

async fn remove(engine: &Engine, reference: &str) -> Result<()> {
    let removed = engine.docker.remove_image(reference, None::<RemoveImageOptions>, None).await;
    removed.if_found(|| format!("remove the image {reference}")).map(|_| ())
}

/// Returns the id of an image of a home, if there is one.
pub(crate) async fn any(engine: &Engine, home: &str) -> Result<Option<String>> {
    let ours = labelled(&[(HOME.to_owned(), home.to_owned())].into());
    let options = ListImagesOptionsBuilder::default().filters(&ours).build();
    let images = engine.docker.list_images(Some(options)).await.with_context(|| "list images")?;
    Ok(images.into_iter().next().map(|image| image.id))
}

/// Removes the images of a home whose trees are no longer in its cache, unless machines use them.
pub(crate) async fn remove_outdated(engine: &Engine, home: &str) -> Result<()> {
    let ours = labelled(&[(HOME.to_owned(), home.to_owned())].into());
    let options = ListImagesOptionsBuilder::default().filters(&ours).build();
    for image in engine.docker.list_images(Some(options)).await.with_context(|| "list images")? {
        let sources = image.labels.get(SOURCES).map(String::as_str).unwrap_or_default();
        if sources.is_empty() || sources.lines().all(|source| Path::new(source).is_dir()) {
            continue;
        }
        for reference in &image.repo_tags {
            match engine.docker.remove_image(reference, None::<RemoveImageOptions>, None).await {
                // The image is in use: the next deletion removes it.
                Err(error) if status(&error) == Some(409) => {}
                result => result.if_found(|| format!("remove the image {reference}")).map(|_| ())?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(source: &str, target: &str) -> Layer {
        Layer { source: source.into(), target: target.into() }
    }

    #[test]
    fn the_tag_follows_from_the_trees_wherever_they_are() {
        let one = tag(&[layer("/a/cache/rootfs-1/rootfs", "/")]);
        assert_eq!(one, tag(&[layer("/b/cache/rootfs-1/rootfs", "/")]));
        assert_ne!(one, tag(&[layer("/a/cache/rootfs-2/rootfs", "/")]));
        assert_ne!(one, tag(&[layer("/a/cache/rootfs-1/rootfs", "/x")]));
    }

    #[test]
    fn engines_can_read_the_archive() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join("file"), "content").unwrap();
        let layers = [layer(tree.path().to_str().unwrap(), "/opt/x")];
        let measured = [layers[0].measure().unwrap()];
        let config = config("x86_64", &layers, &measured, "home").to_string();
        let mut out = Vec::new();
        write_image(&mut out, "kcl.local/node:x", &layers, &measured, &config).unwrap();
        let mut archive = tar::Archive::new(&out[..]);
        let names: Vec<_> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, ["layer-0.tar", "config.json", "manifest.json"]);
        let config: Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["architecture"], "amd64");
        assert_eq!(config["rootfs"]["diff_ids"][0], measured[0].digest.as_str());
        let mut short = measured.clone();
        short[0].size -= 512;
        assert!(write_image(&mut Vec::new(), "x", &layers, &short, "{}").is_err(), "a tree that grew");
    }
}
