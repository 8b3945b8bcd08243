//! Images of a node.

use super::{manifest, platform};
use crate::digest;
use crate::error::{Error, Id, Result};
use crate::images::config::Platform;
use crate::images::containerd::{Containerd, Descriptor};
use crate::images::image::{Blob, Data, Image};

/// Finds an image in a node by its full name. Its layers are read from the node when they are needed.
pub async fn find(node: &Containerd, name: &str) -> Result<Option<Image>> {
    let failed = |status| node.failed(&format!("read the image {name}"), &status);
    let damaged =
        |why: String| Error::new(Id::ImageDamaged, format!("the image {name} on node {} is damaged: {why}", node.node));
    let Some(target) = node.image(name).await.map_err(failed)? else { return Ok(None) };
    let mut descriptor = target;
    for _ in 0..=platform::DEPTH {
        let bytes = document(node, &descriptor).await?;
        match manifest::read(&bytes, &descriptor.media_type).map_err(damaged)? {
            manifest::Read::Manifest(read) => {
                let manifest_blob = Blob { descriptor, data: Data::Bytes(bytes.into()) };
                let (config, layers) = read.parts();
                let text = document(node, &config).await?;
                let config = Blob { descriptor: config, data: Data::Bytes(text.into()) };
                let layers =
                    layers.into_iter().map(|descriptor| Blob { descriptor, data: Data::Node(node.clone()) }).collect();
                return Image::new(vec![name.to_owned()], manifest_blob, config, layers).map(Some);
            }
            manifest::Read::Index(index) => match platform::entry(&index) {
                Some(inner) => descriptor = manifest::described(inner),
                None => {
                    let message = format!("{name} on node {} has no image for {}", node.node, Platform::of_nodes());
                    return Err(Error::new(Id::ImageDamaged, message));
                }
            },
        }
    }
    Err(damaged(format!("it has more than {} indexes in one another", platform::DEPTH)))
}

/// Reads a small blob of a node, and checks its digest.
async fn document(node: &Containerd, blob: &Descriptor) -> Result<Vec<u8>> {
    let failed = |status| node.failed(&format!("read the blob {}", blob.digest), &status);
    let bytes = node.whole_blob(&blob.digest).await.map_err(failed)?;
    let found = format!("sha256:{}", digest::of_bytes(&bytes));
    if found == blob.digest {
        return Ok(bytes);
    }
    let message = format!("node {} sent a blob with the digest {found} for {}", node.node, blob.digest);
    Err(Error::new(Id::ImageDamaged, message).hint("load the image again; the node's disk may be damaged"))
}
