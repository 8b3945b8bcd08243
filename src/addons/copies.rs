//! The copies that a cluster keeps of the user's own addons.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::{self, Files, ORIGIN};
use crate::addon_config::unreadable_addon;
use crate::error::{Error, Id, Result};

/// A copy: the addon's name, its origin and its files.
pub(super) type Copy = (String, String, Files);

/// Reads all copies that lie in `copies`.
pub(super) fn read(copies: &Path) -> Result<Vec<Copy>> {
    let paths = directories(copies).map_err(|error| unreadable_addon(copies, &error))?;
    let copy = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut files = files::folder(&path)?;
        let origin = String::from_utf8_lossy(&files.remove(ORIGIN).unwrap_or_default()).into_owned();
        Ok((name, origin, files))
    };
    paths.into_iter().map(copy).collect()
}

/// Keeps a copy of a user's own addon in `copies`, in place of an earlier one.
pub(super) fn keep(copies: &Path, name: &str, source: &Path, files: &Files) -> Result<()> {
    let (place, fresh) = (copies.join(name), copies.join(format!(".{name}")));
    let write = || {
        if fresh.exists() {
            fs::remove_dir_all(&fresh)?;
        }
        fs::create_dir_all(&fresh)?;
        for (file, content) in files {
            let path = fresh.join(file);
            fs::create_dir_all(path.parent().expect("it is in a folder"))?;
            fs::write(path, content)?;
        }
        fs::write(fresh.join(ORIGIN), source.display().to_string())?;
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::rename(&fresh, &place)
    };
    write().map_err(|error| {
        Error::new(Id::StateUnwritable, format!("{} cannot be written: {error}", place.display())).source(error)
    })
}

/// Removes the copy of a user's own addon, if there is one.
pub fn forget(copies: &Path, name: &str) -> Result<()> {
    let place = copies.join(name);
    match fs::remove_dir_all(&place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::new(Id::StateUnwritable, format!("{} cannot be removed: {error}", place.display()))
                .source(error))
        }
        _ => Ok(()),
    }
}

/// Lists the directories of all copies.
fn directories(copies: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !copies.is_dir() {
        return Ok(Vec::new());
    }
    let paths: std::io::Result<Vec<_>> = fs::read_dir(copies)?.map(|entry| entry.map(|entry| entry.path())).collect();
    let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    Ok(paths?.into_iter().filter(|path| path.is_dir() && !hidden(path)).collect())
}
