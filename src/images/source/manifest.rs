//! The documents of an image by the OCI image specification 1.1 and by Docker: indexes and manifests, as blobs of a
//! layout or of a node.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::files::Files;
use crate::digest;
use crate::error::{Error, Id, Result};
use crate::images::config::{Platform, or_default};
use crate::images::containerd::Descriptor;
use crate::images::image::{Blob, is_sha256};

/// The media types of indexes: of the specification, and Docker's.
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

/// The media type of a manifest that says nothing of its own.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The part of a descriptor that is read. The library's types reject a missing media type, which is common.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Described {
    #[serde(default, deserialize_with = "or_default")]
    media_type: String,
    /// The digest of the blob.
    pub digest: String,
    size: i64,
    /// The platform of a manifest.
    pub platform: Option<Platform>,
    /// Anything else that is said of the blob.
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
}

/// An index of manifests, and of other indexes.
#[derive(Debug, Deserialize)]
pub(super) struct Index {
    /// The entries of the index.
    #[serde(default, deserialize_with = "or_default")]
    pub manifests: Vec<Described>,
}

/// The part of a manifest that is read.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    config: Described,
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<Described>,
}

impl Manifest {
    /// Returns the config and the layers.
    pub(super) fn parts(&self) -> (Descriptor, Vec<Descriptor>) {
        (described(&self.config), self.layers.iter().map(described).collect())
    }

    /// Returns true for the manifest of an image. Signatures, charts and other artifacts have other configs.
    pub(super) fn is_image(&self) -> bool {
        let kind = self.config.media_type.as_str();
        let images =
            ["application/vnd.oci.image.config.", "application/vnd.docker.container.image.", "application/json"];
        kind.is_empty() || images.iter().any(|start| kind.starts_with(start))
    }

    /// Returns the digest of the config.
    pub(super) fn config(&self) -> &str {
        &self.config.digest
    }
}

/// A blob that describes others.
pub(super) enum Read {
    /// The manifest of an image.
    Manifest(Manifest),
    /// An index of them.
    Index(Index),
}

/// Reads a manifest or an index.
///
/// # Errors
/// The reason why it cannot be parsed.
pub(super) fn read(bytes: &[u8], media_type: &str) -> std::result::Result<Read, String> {
    #[derive(Deserialize)]
    struct Kind {
        manifests: Option<serde::de::IgnoredAny>,
        config: Option<serde::de::IgnoredAny>,
    }
    let kind: Kind = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let is_index = INDEXES.contains(&media_type) || kind.manifests.is_some() && kind.config.is_none();
    let read = match is_index {
        true => serde_json::from_slice(bytes).map(Read::Index),
        false => serde_json::from_slice(bytes).map(Read::Manifest),
    };
    read.map_err(|error| error.to_string())
}

/// Reads a manifest or an index, and checks its digest.
pub(super) fn blob(files: &Files, entry: &Described) -> Result<(Read, Blob)> {
    let bytes = checked(files, &entry.digest)?;
    let read = read(&bytes, &entry.media_type).map_err(|why| {
        Error::new(Id::ImageDamaged, format!("the blob {} in {} is damaged: {why}", entry.digest, files.name))
    })?;
    let media_type = if entry.media_type.is_empty() { MANIFEST } else { &entry.media_type };
    Ok((read, Blob::of_bytes(media_type, bytes)))
}

/// Reads a small blob and checks its digest.
pub(super) fn checked(files: &Files, named: &str) -> Result<bytes::Bytes> {
    let bytes = files.read(&path(named)?)?;
    let found = format!("sha256:{}", digest::of_bytes(&bytes));
    if found == named {
        return Ok(bytes);
    }
    Err(Error::new(Id::ImageDamaged, format!("{} is damaged: the blob {named} has the digest {found}", files.name))
        .hint("create or copy it again"))
}

/// Returns containerd's descriptor.
pub(super) fn described(given: &Described) -> Descriptor {
    Descriptor::new(&given.media_type, &given.digest, given.size)
}

/// Returns the path of a blob in a layout.
pub(super) fn path(named: &str) -> Result<String> {
    let bad = || Error::new(Id::ImageDamaged, format!("{named:?} is not a digest that containerd supports (sha256)"));
    is_sha256(named).then(|| format!("blobs/{}", named.replacen(':', "/", 1))).ok_or_else(bad)
}
