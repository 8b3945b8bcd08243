//! Images as an archive that `docker load`, `kcl image load` and tools for the OCI image layout accept: the layout,
//! with the `manifest.json` of `docker save` added.

use std::collections::BTreeSet;
use std::io;

use serde_json::json;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::containerd::Descriptor;
use super::image::{Blob, Image};
use super::meter::Meter;
use super::reference::{familiar, is_digest, split_tag};
use crate::digest;
use crate::error::{Error, Id, Result};

/// The size of a tar block in bytes.
const BLOCK: u64 = 512;

/// Writes images to `to`, which messages call `name`.
pub async fn write(images: &[Image], to: &mut (impl AsyncWrite + Unpin), name: &str, meter: &Meter<'_>) -> Result<()> {
    let failed =
        |error: io::Error| Error::new(Id::FileUnwritable, format!("{name} cannot be written: {error}")).source(error);
    meter.expect(images.iter().map(Image::size).fold(0, u64::saturating_add));
    let mut written = BTreeSet::new();
    file(to, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).await.map_err(failed)?;
    for image in images {
        for blob in image.blobs() {
            if written.insert(blob.descriptor.digest.clone()) {
                header(to, &path(blob), blob.size()).await.map_err(failed)?;
                content(blob, to, meter, &failed).await?;
                pad(to, blob.size()).await.map_err(failed)?;
            }
        }
    }
    file(to, "index.json", index(images).to_string().as_bytes()).await.map_err(failed)?;
    file(to, "manifest.json", manifest(images).to_string().as_bytes()).await.map_err(failed)?;
    to.write_all(&[0; 2 * BLOCK as usize]).await.map_err(failed)?;
    to.flush().await.map_err(failed)
}

/// Writes the bytes of a blob. They come from a node, so their number and their digest are checked.
async fn content(
    blob: &Blob,
    to: &mut (impl AsyncWrite + Unpin),
    meter: &Meter<'_>,
    failed: &impl Fn(io::Error) -> Error,
) -> Result<()> {
    let wrong = |why: String| Error::new(Id::ContainerdFailed, format!("{} {why}", blob.descriptor.digest));
    let mut pieces = blob.pieces(0);
    let mut hash = digest::Writer::new(io::sink());
    let mut size = 0;
    while let Some(piece) = pieces.recv().await {
        let piece = piece.map_err(|error| wrong(format!("cannot be read: {error}")))?;
        size += piece.len() as u64;
        if size > blob.size() {
            return Err(wrong(format!("has more than its {} bytes", blob.size())));
        }
        io::Write::write_all(&mut hash, &piece).map_err(failed)?;
        to.write_all(&piece).await.map_err(failed)?;
        meter.add(piece.len() as u64);
    }
    if size != blob.size() {
        return Err(wrong(format!("has {size} bytes instead of {}", blob.size())));
    }
    let found = format!("sha256:{}", hash.finish().1);
    if found != blob.descriptor.digest {
        return Err(wrong(format!("is damaged: its bytes have the digest {found}")).hint("load the image again"));
    }
    Ok(())
}

/// Returns the names of an image; neither an id nor a digest is one.
fn names(image: &Image) -> Vec<&String> {
    image.names.iter().filter(|name| !is_digest(name)).collect()
}

fn index(images: &[Image]) -> serde_json::Value {
    let entry = |image: &Image| {
        let Descriptor { media_type, digest, size, .. } = &image.manifest.descriptor;
        json!({ "mediaType": media_type, "digest": digest, "size": size })
    };
    let mut manifests = Vec::new();
    for image in images {
        let names = names(image);
        if names.is_empty() {
            manifests.push(entry(image));
        }
        for name in names {
            let mut named = entry(image);
            named["annotations"] = json!({
                "io.containerd.image.name": name,
                "org.opencontainers.image.ref.name": split_tag(name).1,
            });
            manifests.push(named);
        }
    }
    json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests })
}

fn manifest(images: &[Image]) -> serde_json::Value {
    let entry = |image: &Image| {
        json!({
            "Config": path(&image.config),
            "RepoTags": names(image).into_iter().map(|name| familiar(name)).collect::<Vec<_>>(),
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
