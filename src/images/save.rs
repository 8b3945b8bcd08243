//! Images as an archive that `docker load`, `kcl image load` and tools for the OCI image layout accept: the layout,
//! with the `manifest.json` of `docker save` added.

use std::collections::BTreeSet;
use std::io;

use serde_json::json;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::image::{Blob, Image};
use super::meter::Meter;
use super::reference::{familiar, split_tag};
use crate::error::{Error, Family, Result};

/// The size of a tar block in bytes.
const BLOCK: u64 = 512;

/// Writes images to `to`, which messages call `name`.
pub async fn write(images: &[Image], to: &mut (impl AsyncWrite + Unpin), name: &str, meter: &Meter<'_>) -> Result<()> {
    let failed =
        |error: io::Error| Error::new(Family::Host, format!("{name} cannot be written: {error}")).source(error);
    meter.expect(images.iter().map(Image::size).sum());
    let mut written = BTreeSet::new();
    file(to, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).await.map_err(failed)?;
    for image in images {
        for blob in image.blobs() {
            if written.insert(blob.descriptor.digest.clone()) {
                header(to, &path(blob), blob.size()).await.map_err(failed)?;
                let mut pieces = blob.pieces(0);
                let mut size = 0;
                while let Some(piece) = pieces.recv().await {
                    let piece = piece.map_err(|error| {
                        Error::new(Family::Cluster, format!("{} cannot be read: {error}", blob.descriptor.digest))
                    })?;
                    to.write_all(&piece).await.map_err(failed)?;
                    size += piece.len() as u64;
                    meter.add(piece.len() as u64);
                }
                if size != blob.size() {
                    let message = format!("{} has {size} bytes instead of {}", blob.descriptor.digest, blob.size());
                    return Err(Error::new(Family::Cluster, message));
                }
                pad(to, size).await.map_err(failed)?;
            }
        }
    }
    file(to, "index.json", index(images).to_string().as_bytes()).await.map_err(failed)?;
    file(to, "manifest.json", manifest(images).to_string().as_bytes()).await.map_err(failed)?;
    to.write_all(&[0; 2 * BLOCK as usize]).await.map_err(failed)?;
    to.flush().await.map_err(failed)
}

fn index(images: &[Image]) -> serde_json::Value {
    let entry = |image: &Image, name: &String| {
        let descriptor = &image.manifest.descriptor;
        json!({
            "mediaType": descriptor.media_type,
            "digest": descriptor.digest,
            "size": descriptor.size,
            "annotations": {
                "io.containerd.image.name": name,
                "org.opencontainers.image.ref.name": split_tag(name).1,
            },
        })
    };
    let manifests: Vec<_> =
        images.iter().flat_map(|image| image.names.iter().map(move |name| entry(image, name))).collect();
    json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests })
}

fn manifest(images: &[Image]) -> serde_json::Value {
    let entry = |image: &Image| {
        json!({
            "Config": path(&image.config),
            "RepoTags": image.names.iter().map(|name| familiar(name)).collect::<Vec<_>>(),
            "Layers": image.layers.iter().map(path).collect::<Vec<_>>(),
        })
    };
    images.iter().map(entry).collect()
}

fn path(blob: &Blob) -> String {
    format!("blobs/{}", blob.descriptor.digest.replacen(':', "/", 1))
}

async fn file(to: &mut (impl AsyncWrite + Unpin), path: &str, bytes: &[u8]) -> io::Result<()> {
    header(to, path, bytes.len() as u64).await?;
    to.write_all(bytes).await?;
    pad(to, bytes.len() as u64).await
}

async fn header(to: &mut (impl AsyncWrite + Unpin), path: &str, size: u64) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_path(path)?;
    header.set_mode(0o644);
    header.set_size(size);
    header.set_mtime(0);
    header.set_cksum();
    to.write_all(header.as_bytes()).await
}

async fn pad(to: &mut (impl AsyncWrite + Unpin), size: u64) -> io::Result<()> {
    let padding = (BLOCK - size % BLOCK) % BLOCK;
    to.write_all(&vec![0; usize::try_from(padding).unwrap_or_default()]).await
}
