//! Mounts below a directory, through which nothing may be removed: the files behind them belong to somebody else.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Removes a directory and everything in it; succeeds if it does not exist. If something is mounted there, nothing is
/// removed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        // The link itself is removed.
        Ok(found) if found.is_dir() => {
            let mountinfo = std::fs::read_to_string("/proc/self/mountinfo")?;
            if let Some(mount) = mounts_below(&mountinfo, &path.canonicalize()?).pop() {
                let text = format!("something is mounted at {}: unmount it first", mount.display());
                return Err(io::Error::new(ErrorKind::ResourceBusy, text));
            }
        }
        _ => {}
    }
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns the mount points at or below a directory, as proc_pid_mountinfo(5) has them, deepest first. The directory is
/// named without symbolic links.
pub fn mounts_below(mountinfo: &str, directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|field| PathBuf::from(unescape(field)))
        .filter(|target| target.starts_with(directory))
        .collect();
    found.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    found
}

/// Decodes a path of proc_pid_mountinfo(5), which has blanks, tabs, newlines and backslashes in octal.
fn unescape(field: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(field.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_deepest_first() {
        let mountinfo = "1 0 8:1 / / rw - ext4 /dev/vda rw\n\
            2 1 0:1 / /a/b rw - tmpfs tmpfs rw\n\
            3 2 0:1 / /a/b/c\\040d rw - tmpfs tmpfs rw\n\
            4 1 0:1 / /a/bc rw - tmpfs tmpfs rw\n";
        assert_eq!(mounts_below(mountinfo, Path::new("/a/b")), [PathBuf::from("/a/b/c d"), PathBuf::from("/a/b")]);
    }

    #[test]
    fn a_tree_is_removed_and_a_missing_one_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("below")).unwrap();
        std::fs::write(tree.join("below/file"), "").unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        remove_tree(&tree).unwrap();
    }

    #[test]
    fn nothing_is_removed_through_a_mount() {
        // The root of the system has mounts below it, and this fails before anything is removed.
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/proc", &link).unwrap();
        assert_eq!(remove_tree(Path::new("/proc")).unwrap_err().kind(), ErrorKind::ResourceBusy);
        remove_tree(&link).unwrap();
        assert!(Path::new("/proc/self").exists());
    }
}
