//! The sources of images.

mod docker;
mod engine;
mod files;
mod layout;
mod manifest;
pub mod node;
mod oci;
mod platform;
pub mod rootfs;
#[cfg(test)]
mod tests;

use std::path::Path;

use super::image::Image;
use super::reference::normalize;
use crate::error::{Error, Id, Result};

/// The argument that stands for standard input.
const STDIN: &str = "-";

/// Finds the images that an argument names: `-`, an archive, a directory in the OCI image layout, or the name of an
/// image in the Docker or Podman engine. `name` is for an image that has none; `scratch` is the directory for copies of
/// streams and compressed archives.
pub async fn find(word: &str, name: Option<&str>, scratch: &Path) -> Result<Vec<Image>> {
    let name = name.map(normalize).transpose()?;
    if word == STDIN {
        let files = files::Files::of_stream(std::io::stdin(), "standard input", scratch).await?;
        return layout::images(files, name);
    }
    let path = Path::new(word);
    if path.is_dir() && (looks_like_path(word) || ["oci-layout", "blobs"].iter().any(|name| path.join(name).exists())) {
        return layout::images(files::Files::of_directory(path, scratch), name);
    }
    if files::is_readable(path) {
        return layout::images(files::Files::of_archive(path, scratch).await?, name);
    }
    if looks_like_path(word) {
        return Err(Error::new(Id::FileUnusable, format!("there is no file {word}")).hint(
            "an image is loaded from a docker or OCI archive, an OCI layout, - for standard input, or by its name in Docker",
        ));
    }
    engine::find(word, name, scratch).await
}

/// Reads the images of an archive.
pub async fn of_archive(path: &Path) -> Result<Vec<Image>> {
    layout::images(files::Files::of_archive(path, &std::env::temp_dir()).await?, None)
}

/// Returns true for an argument that can only be a path.
pub fn looks_like_path(word: &str) -> bool {
    const ENDINGS: [&str; 10] =
        [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".oci"];
    word.starts_with(['/', '.', '~']) || ENDINGS.iter().any(|ending| word.ends_with(ending))
}
