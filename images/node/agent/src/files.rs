//! Writing files so that a reader never sees half of one.

use std::fs::{self, Permissions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kcl_files::NewFile;

use crate::error::{Doing, Result};

/// Replaces `path` with a file of this content and mode. It is not flushed to the disk, as the agent writes it at each start.
///
/// A mount point cannot be replaced (engines bind-mount `/etc/hosts` and the like), so such a file is written in place.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let has_mode = fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o7777 == mode);
    if has_mode && fs::read(path).is_ok_and(|found| found == content) {
        return Ok(());
    }
    let attempt = || -> io::Result<()> {
        let mut file = NewFile::create_at(&kcl_files::sole_temporary(path), path)?;
        file.set_mode(mode)?;
        file.write_all(content)?;
        match file.place() {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => fs::write(path, content),
            other => other,
        }
    };
    if let Some(parent) = path.parent() {
        create_dir(parent)?;
    }
    attempt().doing(|| format!("write {}", path.display()))
}

/// Creates a directory and its parents.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).doing(|| format!("make the directory {}", path.display()))
}

/// Creates a directory that only root may enter.
pub(crate) fn create_private_dir(path: &Path) -> Result<()> {
    create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700)).doing(|| format!("set the mode of {}", path.display()))
}

/// Returns a number that differs if the content of one of these files does, or if one is missing.
pub(crate) fn digest(paths: &[String]) -> u64 {
    let contents: Vec<_> = paths.iter().map(|path| fs::read(path).ok()).collect();
    let mut hasher = DefaultHasher::new();
    contents.hash(&mut hasher);
    hasher.finish()
}

/// Reads a whole text file.
pub(crate) fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).doing(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_all_contents() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| dir.path().join(name).to_string_lossy().into_owned());
        let mut seen = vec![digest(&paths)];
        for (path, content) in [(0, "x"), (1, ""), (1, "x"), (0, "y")] {
            fs::write(&paths[path], content).unwrap();
            assert!(!seen.contains(&digest(&paths)), "{path} {content}");
            seen.push(digest(&paths));
        }
        assert_eq!(digest(&paths), *seen.last().unwrap());
    }

    #[test]
    fn replaces_a_file_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/hosts");
        write(&path, b"one", 0o644).unwrap();
        write(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        write(&path, b"two", 0o644).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
