//! Documents on disk: whole or not there.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use kcl_driver_api::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::doing::Doing;

/// Writes a document: temporary file, fsync, rename.
pub(crate) fn write(path: &Path, document: &impl Serialize) -> Result<()> {
    let what = || format!("write {}", path.display());
    let parent = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(parent).doing(what)?;
    serde_json::to_writer_pretty(&mut file, document).doing(what)?;
    file.write_all(b"\n").doing(what)?;
    file.as_file().sync_all().doing(what)?;
    file.persist(path).doing(what)?;
    fs::File::open(parent).and_then(|directory| directory.sync_all()).doing(what)
}

/// Reads a document; none where there is no file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(error).doing(|| format!("read {}", path.display())),
    };
    match serde_json::from_slice(&text) {
        Ok(document) => Ok(Some(document)),
        Err(error) => {
            let message = format!("{} is damaged or of another version of kcl: {error}", path.display());
            Err(Error::new(kcl_driver_api::ErrorKind::State, message).source(error))
        }
    }
}

/// Makes a directory and its parents, for root only.
pub(crate) fn make_private_directory(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.doing(|| format!("make the directory {}", path.display()))
}

/// Removes a file; one that is not there is no error.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).doing(|| format!("remove {}", path.display())),
        _ => Ok(()),
    }
}

/// Removes a directory with all in it; one that is not there is no error.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).doing(|| format!("remove {}", path.display())),
        _ => Ok(()),
    }
}

/// Removes a directory if nothing is in it.
pub(crate) fn remove_if_empty(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
            Err(error).doing(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
