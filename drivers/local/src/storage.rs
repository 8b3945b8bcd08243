//! Stores documents on disk, each whole or not at all.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use kcl_driver_api::{Error, Result};
pub use kcl_files::mounts_below;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context as _;

/// Writes a document, whole or not at all. No other process writes it, as kcl locks the cluster; so a part that a
/// killed kcl left has a fixed name, by which [`remove_file`] finds it.
pub fn write(path: &Path, document: &impl Serialize) -> Result<()> {
    let what = || format!("write {}", path.display());
    let mut text = serde_json::to_vec_pretty(document).with_context(what)?;
    text.push(b'\n');
    kcl_files::write_sole(path, &text, 0o600).with_context(what)
}

/// Reads a document; none if there is no file.
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
    kcl_files::private_dir(path).with_context(|| format!("make the directory {}", path.display()))
}

/// Removes a document, even one half written; succeeds if it does not exist.
pub fn remove_file(path: &Path) -> Result<()> {
    let temporary = kcl_files::sole_temporary(path);
    [path, &temporary].into_iter().try_for_each(kcl_files::remove).with_context(|| format!("remove {}", path.display()))
}

/// Removes a directory and everything in it, unless something is mounted there; succeeds if it does not exist.
pub fn remove_tree(path: &Path) -> Result<()> {
    kcl_files::remove_tree(path).with_context(|| format!("remove {}", path.display()))
}

/// Removes a directory if it is empty and nothing is mounted on it.
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

/// Returns the names of the directories in a directory, sorted; none if it does not exist.
pub fn directories(path: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}
