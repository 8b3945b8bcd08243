//! Files that are written whole or not at all, and locks between processes.

mod dir;
mod lock;
mod marker;
mod mounts;
mod new_file;
mod owner;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub use dir::{private_dir, remove, sync_dir};
pub use lock::Lock;
pub use marker::{MARKER, Marker, Owned};
pub use mounts::{mounts_below, remove_tree};
pub use new_file::{NewFile, TEMPORARY};
pub use owner::{hand_over, sudo_user, user_dir, user_dir_with};

/// Replaces `path` with a file of this content and mode. The file holds the old content or the new at any moment, even
/// after a power cut. It belongs to the user behind sudo where [`hand_over`] says so.
pub fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = NewFile::create(path)?;
    hand_over(file.temporary())?;
    file.write_all(content)?;
    file.commit(mode)
}

/// Replaces `path` as [`write`] does, by way of [`sole_temporary`]. The caller is its only writer, as under a lock.
pub fn write_sole(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = NewFile::create_at(&sole_temporary(path), path)?;
    file.write_all(content)?;
    file.commit(mode)
}

/// Returns the one temporary name for a file that has a single writer: what a killed writer left is found there.
pub fn sole_temporary(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(TEMPORARY);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        for write in [write, write_sole] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a");
            write(&path, b"one", 0o600).unwrap();
            write(&path, b"two", 0o644).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"two");
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
            assert_eq!(names(dir.path()), ["a"]);
        }
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::create_dir(&path).unwrap();
        assert!(write(&path, b"x", 0o600).is_err());
        assert!(write_sole(&path, b"x", 0o600).is_err());
        drop(NewFile::create(&path).unwrap());
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn a_temporary_file_of_a_killed_process_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(sole_temporary(&path), "half a file, and longer").unwrap();
        std::fs::write(dir.path().join(format!("{TEMPORARY}{}-0", std::process::id())), "half").unwrap();
        write_sole(&path, b"whole", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(names(dir.path()).len(), 2);
        write(&path, b"new", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }
}
