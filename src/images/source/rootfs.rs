//! An image of one layer, made from the archive of a root file system.

use std::path::Path;

use super::docker;
use super::files::{Files, is_readable};
use crate::artifacts::image_config::ImageConfig;
use crate::error::{Error, Id, Result};
use crate::images::image::{Data, Image};
use crate::task::blocking;

/// Creates an image from an archive (`-` for standard input) under a full name.
pub async fn image(word: &str, name: String, run: &ImageConfig, scratch: &Path) -> Result<Image> {
    let path = Path::new(word);
    let files = match word {
        "-" => Files::of_stream(std::io::stdin(), "standard input", scratch).await?,
        _ if is_readable(path) => Files::of_archive(path, scratch).await?,
        _ => {
            return Err(Error::new(Id::FileUnusable, format!("there is no file {word}")).hint(
                "a root file system is imported from a tar archive, compressed or not, or - for standard input",
            ));
        }
    };
    if files.has("manifest.json") || files.has("oci-layout") {
        return Err(Error::new(
            Id::FileUnusable,
            format!("{} is an archive of an image, not of a root file system", files.name),
        )
        .hint(format!("load it with: kcl image load {word}")));
    }
    let Some((file, size)) = files.archive() else {
        return Err(Error::new(Id::Internal, "a directory is not an archive"));
    };
    let mut layer = docker::plain_layer(Data::Part(file, 0), size, "");
    let layer = blocking(move || {
        let unreadable = |error| Error::new(Id::ImageDamaged, format!("{} cannot be read: {error}", files.name));
        layer.descriptor.digest = layer.digest_here().map_err(unreadable)?;
        Ok(layer)
    })
    .await?;
    let config = serde_json::to_vec(&run.of_layer(&layer.descriptor.digest)?)
        .map_err(|error| Error::new(Id::Internal, format!("an image cannot be described: {error}")))?;
    docker::assemble(vec![name], config.into(), vec![layer])
}
