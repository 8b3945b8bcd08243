//! Images of a node.

use super::oci;
use crate::error::{Error, Family, Result};
use crate::images::containerd::Containerd;
use crate::images::image::{Blob, Data, Image};

/// Finds an image in a node by its full name. Its layers are read from the node when they are needed.
pub async fn find(node: &Containerd, name: &str) -> Result<Option<Image>> {
    let failed = |status| node.failed(&format!("read the image {name}"), &status);
    let Some(target) = node.image(name).await.map_err(failed)? else { return Ok(None) };
    let mut descriptor = target;
    let manifest = loop {
        let bytes = node.whole_blob(&descriptor.digest).await.map_err(failed)?;
        match oci::read(&bytes, &descriptor.media_type) {
            Ok(oci::Read::Manifest(manifest)) => {
                break (manifest, Blob { descriptor, data: Data::Bytes(bytes.into()) });
            }
            Ok(oci::Read::Index(Some(inner))) => descriptor = inner,
            Ok(oci::Read::Index(None)) => {
                return Err(Error::new(Family::Artifact, format!("{name} has no image for this platform")));
            }
            Err(why) => {
                let message = format!("the image {name} on node {} is damaged: {why}", node.node);
                return Err(Error::new(Family::Artifact, message));
            }
        }
    };
    let (manifest, blob) = manifest;
    let (config, layers) = manifest.parts();
    let text = node.whole_blob(&config.digest).await.map_err(failed)?;
    let config = Blob { descriptor: config, data: Data::Bytes(text.into()) };
    let layers = layers.into_iter().map(|descriptor| Blob { descriptor, data: Data::Node(node.clone()) }).collect();
    Image::new(vec![name.to_owned()], blob, config, layers).map(Some)
}
