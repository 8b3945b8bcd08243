//! A kubeconfig file, which is changed under its lock, whole or not at all.

use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kcl_files::NewFile;

use crate::error::Result;
use crate::kubeconfig::document::Document;
use crate::kubeconfig::failure::error;
use crate::kubeconfig::lock::Lock;

/// Changes the file at `path`; returns false if there was nothing to write.
pub(super) fn edit(path: &Path, change: impl FnOnce(&mut Document) -> Result<()>) -> Result<bool> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        kcl_files::user_dir(parent)
            .map_err(|cause| error(path, format!("its directory cannot be made: {cause}")).source(cause))?;
    }
    let _lock = Lock::take(path)?;
    let before = Document::read(path)?;
    let mut after = before.clone();
    change(&mut after)?;
    if after == before {
        return Ok(false);
    }
    let text = after.to_yaml()?;
    write(path, text.as_bytes())
        .map_err(|cause| error(path, format!("it cannot be written: {cause}")).source(cause))?;
    Ok(true)
}

/// Replaces the file at `path`. Links stay links; mode and owner are kept.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let target = follow(path)?;
    let (mode, owner) = match std::fs::metadata(&target) {
        Ok(found) => (found.permissions().mode() & 0o7777, Some((found.uid(), found.gid()))),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => (0o600, None),
        Err(cause) => return Err(cause),
    };
    let mut file = NewFile::create(&target)?;
    file.write_all(content)?;
    match owner {
        Some((user, group)) => file.give_to(user, group)?,
        None => kcl_files::hand_over(file.temporary())?,
    }
    file.commit(mode)
}

/// Follows a chain of symbolic links to its end, which need not exist.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    // This is the kernel's own limit.
    for _ in 0..40 {
        match std::fs::read_link(&path) {
            Ok(next) => path = path.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}
