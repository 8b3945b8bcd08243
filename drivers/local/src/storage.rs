//! Documents on disk: whole or not there.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use kcl_driver_api::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context as _;

/// Writes a document: temporary file, fsync, rename. The temporary file has a fixed name, so that one left by a kcl
/// that was killed is used again, and [`remove_file`] finds it. Nobody else writes: kcl locks the cluster.
pub fn write(path: &Path, document: &impl Serialize) -> Result<()> {
    let what = || format!("write {}", path.display());
    let temporary = temporary(path);
    let mut text = serde_json::to_vec_pretty(document).with_context(what)?;
    text.push(b'\n');
    let mut file = fs::File::create(&temporary).with_context(what)?;
    file.write_all(&text).with_context(what)?;
    file.sync_all().with_context(what)?;
    fs::rename(&temporary, path).with_context(what)?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::File::open(parent).and_then(|directory| directory.sync_all()).with_context(what)
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Reads a document; none where there is no file.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    match serde_json::from_slice(&text) {
        Ok(document) => Ok(Some(document)),
        Err(error) => {
            let message = format!("{} is damaged or of another version of kcl: {error}", path.display());
            Err(Error::new(kcl_driver_api::ErrorKind::State, message).source(error))
        }
    }
}

/// Makes a directory and its parents, for their owner only.
pub fn make_private_directory(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("make the directory {}", path.display()))
}

/// Removes a document, also one half written; one that is not there is no error.
pub fn remove_file(path: &Path) -> Result<()> {
    for path in [path, &temporary(path)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes a directory with all in it; one that is not there is no error.
pub fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a directory if nothing is in it, and no disk of its own is mounted there.
pub fn remove_if_empty(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(error)
            if !matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty | ErrorKind::ResourceBusy
            ) =>
        {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
