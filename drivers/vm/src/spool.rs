//! Files that were put into a machine while it was off: its next boot writes them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use kcl_driver_api::{Error, ErrorKind, File, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::storage;
use kcl_files::NewFile;
use walkdir::WalkDir;

use crate::layout::MachineNames;

/// A file for the next boot.
pub struct Spooled {
    /// The path, absolute.
    pub path: PathBuf,
    /// The permission bits.
    pub mode: u32,
    /// The content of the file.
    pub content: Vec<u8>,
}

/// Refuses a path that cannot be that of a file in a machine.
///
/// # Errors
/// `State` for a path that is relative, has a `..`, or names no file.
pub fn check(path: &Path) -> Result<()> {
    let plain = path.components().skip(1).all(|part| matches!(part, Component::Normal(_)));
    if path.is_absolute() && plain && path.file_name().is_some() {
        return Ok(());
    }
    let message =
        format!("{} is not a path for a file in a machine: it must be absolute and without \"..\"", path.display());
    Err(Error::new(ErrorKind::State, message))
}

/// Keeps files for the next boot: each whole or not at all.
///
/// # Errors
/// `State` for an invalid path, `Host` if the disk is full.
pub fn put(names: &MachineNames, files: &[File]) -> Result<()> {
    for file in files {
        check(&file.path)?;
    }
    for file in files {
        let path = at(names, &file.path);
        let what = || format!("write {}", path.display());
        let parent = path.parent().unwrap_or(&path);
        storage::make_private_directory(parent)?;
        // The temporary file is beside the spool, which has only files of the machine.
        let mut new = NewFile::create_at(&names.dir.join("spool.new"), &path).with_context(what)?;
        new.write_all(&file.content).with_context(what)?;
        new.commit(file.mode).with_context(what)?;
    }
    Ok(())
}

/// Reads the content of a file that waits for the next boot.
///
/// # Errors
/// `Host` if it cannot be read.
pub fn get(names: &MachineNames, path: &Path) -> Result<Option<Vec<u8>>> {
    let path = at(names, path);
    if !path.is_file() {
        return Ok(None);
    }
    fs::read(&path).map(Some).with_context(|| format!("read {}", path.display()))
}

/// Reads all files that wait for the next boot.
///
/// # Errors
/// `Host` if they cannot be read.
pub fn spooled(names: &MachineNames) -> Result<Vec<Spooled>> {
    let root = names.spool();
    let mut found = Vec::new();
    if !root.exists() {
        return Ok(found);
    }
    for entry in WalkDir::new(&root).sort_by_file_name() {
        let what = || format!("read {}", root.display());
        let entry = entry.with_context(what)?;
        let meta = entry.metadata().with_context(what)?;
        if meta.is_file() {
            let path = Path::new("/").join(entry.path().strip_prefix(&root).unwrap_or(entry.path()));
            let content = fs::read(entry.path()).with_context(|| format!("read {}", entry.path().display()))?;
            found.push(Spooled { path, mode: meta.permissions().mode() & 0o7777, content });
        }
    }
    Ok(found)
}

/// Removes files that the machine has, or has newer ones of.
///
/// # Errors
/// `Host` if they cannot be removed.
pub fn forget(names: &MachineNames, files: Option<&[File]>) -> Result<()> {
    match files {
        None => storage::remove_tree(&names.spool()),
        Some(files) if names.spool().exists() => {
            files.iter().try_for_each(|file| storage::remove_file(&at(names, &file.path)))
        }
        Some(_) => Ok(()),
    }
}

fn at(names: &MachineNames, path: &Path) -> PathBuf {
    names.spool().join(path.strip_prefix("/").unwrap_or(path))
}
