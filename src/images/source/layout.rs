//! The choice between the layouts of archives and directories.

use super::files::Files;
use super::{docker, oci};
use crate::error::{Error, Id, Result};
use crate::images::image::Image;

/// Returns the images in `files`, in the OCI layout or in Docker's.
pub(super) fn images(files: Files, name: Option<String>) -> Result<Vec<Image>> {
    let mut images = if files.has("index.json") {
        oci::images(&files, name.as_deref())?
    } else if files.has("manifest.json") {
        docker::images(&files, name.as_deref())?
    } else {
        return Err(Error::new(Id::ImageForeign, format!("{} contains no image: {}", files.name, files.what()))
            .hint("an archive is made with: docker save app:1 -o app.tar")
            .hint("a root file system becomes an image with: kcl image import"));
    };
    for image in &mut images {
        // As for Docker, its id is its name until it gets one.
        if image.names.is_empty() {
            image.names.push(image.id().to_owned());
        }
    }
    Ok(images)
}
