//! The archive of `docker save` before Docker 25 and of Podman (Docker image specification 1.2).

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;

use super::files::Files;
use crate::digest;
use crate::error::{Error, Id, Result};
use crate::images::config::{ImageConfig, or_default};
use crate::images::containerd::Descriptor;
use crate::images::image::{Blob, Data, Image};
use crate::images::reference::normalize;

/// Docker's media types (Docker image manifest version 2, schema 2).
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// An entry of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default, deserialize_with = "or_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<String>,
}

/// Returns the names in `manifest.json`, if it exists, by the path of the image's config.
pub(super) fn names(files: &Files) -> Result<HashMap<String, Vec<String>>> {
    if !files.has("manifest.json") {
        return Ok(HashMap::new());
    }
    let entries: Vec<Entry> = files.json("manifest.json")?;
    let names = |entry: Entry| Ok((entry.config, normalized(files, &entry.repo_tags)?));
    entries.into_iter().map(names).collect()
}

/// Returns the images of an archive; `name` replaces the names of its only image.
pub(super) fn images(files: &Files, name: Option<&str>) -> Result<Vec<Image>> {
    let entries: Vec<Entry> = files.json("manifest.json")?;
    if let (2.., Some(name)) = (entries.len(), name) {
        let message = format!("{} has {} images, but --name {name} can name only one", files.name, entries.len());
        return Err(Error::new(Id::FlagInvalid, message));
    }
    let image = |entry: Entry| {
        let names = match name {
            Some(name) => vec![name.to_owned()],
            None => normalized(files, &entry.repo_tags)?,
        };
        let config = files.read(&entry.config)?;
        let damaged =
            |why: String| Error::new(Id::ImageDamaged, format!("{} in {} is damaged: {why}", entry.config, files.name));
        // The config's file name is its digest, or ends in it.
        let named = entry.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        let found = digest::of_bytes(&config);
        if named.len() == 64 && named != found {
            return Err(damaged(format!("its digest is {found}")).hint("create or copy it again"));
        }
        let read = ImageConfig::parse(&config).map_err(|error| damaged(error.to_string()))?;
        if read.diff_ids().len() != entry.layers.len() {
            let (lists, has) = (read.diff_ids().len(), entry.layers.len());
            return Err(damaged(format!("it lists {lists} layers, but the image has {has}")));
        }
        let layers: Vec<Blob> = entry
            .layers
            .iter()
            .zip(read.diff_ids())
            .map(|(path, diff_id)| layer(files, path, diff_id))
            .collect::<Result<_>>()?;
        assemble(names, config, layers)
    };
    entries.into_iter().map(image).collect()
}

/// Creates an image, and its manifest, from a config and layers.
pub(super) fn assemble(names: Vec<String>, config: bytes::Bytes, layers: Vec<Blob>) -> Result<Image> {
    let config = Blob::of_bytes(CONFIG, config);
    let described = |blob: &Blob| {
        let Descriptor { media_type, digest, size, .. } = &blob.descriptor;
        json!({ "mediaType": media_type, "size": size, "digest": digest })
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(&config),
        "layers": layers.iter().map(described).collect::<Vec<_>>(),
    });
    Image::new(names, Blob::of_bytes(MANIFEST, manifest.to_string().into_bytes()), config, layers)
}

/// Returns the blob of an uncompressed layer. Its digest is the config's `diff_id`, so the layer need not be read.
pub(super) fn plain_layer(data: Data, size: u64, diff_id: &str) -> Blob {
    let descriptor = Descriptor::new(LAYER, diff_id, size as i64);
    Blob { descriptor, data }
}

/// Returns the full names that `manifest.json` gives.
fn normalized(files: &Files, tags: &[String]) -> Result<Vec<String>> {
    let named = |tag: &String| {
        normalize(tag).map_err(|error| {
            Error::new(Id::ImageDamaged, format!("manifest.json in {}: {}", files.name, error.message))
                .hint("give the image another name with: --name app:1")
        })
    };
    // Some tools write this for an image without a name.
    tags.iter().filter(|tag| *tag != "<none>:<none>").map(named).collect()
}

fn layer(files: &Files, path: &str, diff_id: &str) -> Result<Blob> {
    let (size, compression) = files.look(path)?;
    let Some(compression) = compression else {
        return files.blob(path, plain_layer(Data::Bytes(bytes::Bytes::new()), size, diff_id).descriptor);
    };
    let Some(ending) = compression.of_layer() else {
        let (data, size) = files.decompressed(path)?;
        return Ok(plain_layer(data, size, diff_id));
    };
    let mut blob = files.blob(path, Descriptor::new(format!("{LAYER}.{ending}"), String::new(), size as i64))?;
    blob.descriptor.digest = blob
        .digest_here()
        .map_err(|error| Error::new(Id::ImageDamaged, format!("{path} in {} cannot be read: {error}", files.name)))?;
    Ok(blob)
}
