//! The OCI image layout (OCI image specification 1.1), as a directory or in an archive; `docker save` writes it too
//! since Docker 25.

use oci_spec::image as spec;
use serde::Deserialize;

use super::docker;
use super::files::Files;
use crate::artifacts::digest;
use crate::error::{Error, Family, Result};
use crate::images::containerd::Descriptor;
use crate::images::image::{Blob, Data, Image};
use crate::images::reference::normalize;

/// The annotation of containerd and Docker for the full name of an image.
const NAME: &str = "io.containerd.image.name";
/// The annotation of the specification; often a tag only.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Docker's media type of an index.
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The part of a descriptor that is read. The library's types reject a missing media type, which is common.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: i64,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Debug, Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Described>,
}

/// The part of a manifest that is read.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    config: Described,
    layers: Vec<Described>,
}

impl Manifest {
    /// Returns the config and the layers.
    pub fn parts(&self) -> (Descriptor, Vec<Descriptor>) {
        (described(&self.config), self.layers.iter().map(described).collect())
    }
}

/// A blob that describes others.
pub enum Read {
    /// The manifest of an image.
    Manifest(Manifest),
    /// An index, with its manifest for the nodes' platform.
    Index(Option<Descriptor>),
}

/// Reads a manifest or an index.
///
/// # Errors
/// The reason why it cannot be parsed.
pub fn read(bytes: &[u8], media_type: &str) -> std::result::Result<Read, String> {
    if !is_index(media_type) {
        return serde_json::from_slice(bytes).map(Read::Manifest).map_err(|error| error.to_string());
    }
    let index: Index = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    Ok(Read::Index(index.manifests.iter().find(|one| fits(one)).map(described)))
}

fn is_index(media_type: &str) -> bool {
    media_type == spec::MediaType::ImageIndex.to_string() || media_type == DOCKER_LIST
}

/// Returns true for an entry of an index that runs on the nodes.
fn fits(entry: &Described) -> bool {
    let ours = spec::Arch::default().to_string();
    entry.platform.as_ref().is_none_or(|platform| platform.os == "linux" && platform.architecture == ours)
}

/// Returns the images of a layout; `name` replaces the names of its only image.
pub fn images(files: &Files, name: Option<&str>) -> Result<Vec<Image>> {
    let index: Index = files.json("index.json")?;
    let named = docker::names(files)?;
    let mut found: Vec<Image> = Vec::new();
    for entry in &index.manifests {
        let (manifest, descriptor) = manifest_of(files, entry)?;
        let mut names = match (name, entry.annotations.get(NAME), entry.annotations.get(REF_NAME)) {
            (Some(name), ..) => vec![name.to_owned()],
            (None, Some(name), _) => vec![normalize(name)?],
            (None, None, Some(name)) if name.contains(['/', ':']) => vec![normalize(name)?],
            _ => Vec::new(),
        };
        if names.is_empty() {
            names = named.get(&path(&manifest.config.digest)?).cloned().unwrap_or_default();
        }
        // An image with several names has an entry for each.
        match found.iter_mut().find(|image| image.manifest.descriptor.digest == descriptor.descriptor.digest) {
            Some(image) => image.names.extend(names),
            None => found.push(image(files, names, &manifest, descriptor)?),
        }
    }
    match (found.len(), name) {
        (0, _) => Err(Error::new(Family::Artifact, format!("{} has no image: its index is empty", files.name))),
        (2.., Some(name)) => Err(Error::new(
            Family::Usage,
            format!("{} has {} images, but --name {name} can name only one", files.name, found.len()),
        )),
        _ => {
            for image in &mut found {
                image.names.sort();
                image.names.dedup();
            }
            Ok(found)
        }
    }
}

/// Returns the manifest of an entry for the nodes' platform.
fn manifest_of(files: &Files, entry: &Described) -> Result<(Manifest, Blob)> {
    let bytes = checked(files, &entry.digest)?;
    if !is_index(&entry.media_type) {
        let manifest = serde_json::from_slice(&bytes).map_err(|error| damaged(files, &entry.digest, &error))?;
        let media_type = match entry.media_type.as_str() {
            "" => spec::MediaType::ImageManifest.to_string(),
            given => given.to_owned(),
        };
        return Ok((manifest, Blob::of_bytes(&media_type, bytes)));
    }
    let index: Index = serde_json::from_slice(&bytes).map_err(|error| damaged(files, &entry.digest, &error))?;
    let ours = spec::Arch::default().to_string();
    let platforms = index.manifests.iter().filter_map(|one| one.platform.as_ref());
    let has: Vec<String> = platforms.map(|one| format!("{}/{}", one.os, one.architecture)).collect();
    match index.manifests.iter().find(|one| fits(one)) {
        Some(one) => manifest_of(files, one),
        None => {
            let message = format!("{} has no image for linux/{ours}: it has {}", files.name, has.join(", "));
            Err(Error::new(Family::Artifact, message).hint(format!(
                "build or pull it for the nodes, for example with: docker build --platform linux/{ours}"
            )))
        }
    }
}

fn image(files: &Files, names: Vec<String>, manifest: &Manifest, blob: Blob) -> Result<Image> {
    let config = checked(files, &manifest.config.digest)?;
    let config = Blob { descriptor: described(&manifest.config), data: Data::Bytes(config) };
    let layer = |layer: &Described| {
        // A layer may be absent from the archive if the nodes have it; otherwise an error names it.
        files.blob(&path(&layer.digest)?, described(layer))
    };
    let layers = manifest.layers.iter().map(layer).collect::<Result<_>>()?;
    Image::new(names, blob, config, layers)
}

/// Reads a small blob and checks its digest.
fn checked(files: &Files, named: &str) -> Result<bytes::Bytes> {
    let bytes = files.read(&path(named)?)?;
    let found = format!("sha256:{}", digest::of_bytes(&bytes));
    if found == named {
        return Ok(bytes);
    }
    Err(Error::new(Family::Artifact, format!("{} is damaged: the blob {named} has the digest {found}", files.name))
        .hint("create or copy it again"))
}

fn described(given: &Described) -> Descriptor {
    Descriptor::new(&given.media_type, &given.digest, given.size)
}

/// Returns the path of a blob in a layout.
fn path(named: &str) -> Result<String> {
    let hex = named.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    let bad = || Error::new(Family::Artifact, format!("{named:?} is not a digest that containerd supports (sha256)"));
    hex.map(|hex| format!("blobs/sha256/{hex}")).ok_or_else(bad)
}

fn damaged(files: &Files, digest: &str, error: &serde_json::Error) -> Error {
    Error::new(Family::Artifact, format!("the blob {digest} in {} is damaged: {error}", files.name))
}
