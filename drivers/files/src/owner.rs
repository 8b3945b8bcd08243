//! The owner of what kcl makes for a user who runs it by sudo(8): files in the user's directories are the user's.

use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, lchown};
use std::path::Path;

use crate::dir::parent;

/// Returns the user and group for whom root runs this process by sudo.
pub fn sudo_user() -> Option<(u32, u32)> {
    sudo(|name| std::env::var(name).ok()).filter(|_| is_root())
}

/// Gives a file or directory that this process made to the user behind sudo, if the directory around it is that user's.
/// Without sudo nothing changes.
pub fn hand_over(path: &Path) -> io::Result<()> {
    match sudo(|name| std::env::var(name).ok()) {
        Some((user, group)) => hand_over_to(path, user, group),
        None => Ok(()),
    }
}

fn hand_over_to(path: &Path, user: u32, group: u32) -> io::Result<()> {
    let around = parent(path)?.metadata()?;
    let own = path.symlink_metadata()?;
    if around.uid() == user && own.uid() != user {
        return match lchown(path, Some(user), Some(group)) {
            // Somebody who is not root, or a file system without owners.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
            changed => changed,
        };
    }
    Ok(())
}

/// Creates a directory and its parents with access for their owner only, who is the user behind sudo where
/// [`hand_over`] says so. Those that exist are not changed.
pub fn user_dir(dir: &Path) -> io::Result<()> {
    user_dir_with(dir, 0o700)
}

/// Creates a directory and its parents as [`user_dir`] does, with another mode.
pub fn user_dir_with(dir: &Path, mode: u32) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        user_dir_with(parent, mode)?;
    }
    match DirBuilder::new().mode(mode).create(dir) {
        Ok(()) => hand_over(dir),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns the user and group for whom sudo runs this process.
fn sudo(var: impl Fn(&str) -> Option<String>) -> Option<(u32, u32)> {
    let number = |name| var(name)?.parse::<u32>().ok();
    number("SUDO_UID").filter(|user| *user != 0).zip(number("SUDO_GID"))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_names_the_user() {
        let vars = |user: &'static str, group: &'static str| {
            sudo(move |name| Some(if name == "SUDO_UID" { user } else { group }.to_owned()))
        };
        assert_eq!(vars("1000", "100"), Some((1000, 100)));
        assert_eq!(vars("0", "0"), None);
        assert_eq!(vars("-1", "x"), None);
        assert_eq!(sudo(|_| None), None);
    }

    #[test]
    fn what_is_made_in_a_users_directory_is_the_users() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let owner = |path: &Path| path.metadata().unwrap().uid();
        let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
        std::fs::create_dir_all(&ours).unwrap();
        std::fs::create_dir_all(&theirs).unwrap();
        lchown(&theirs, Some(65534), Some(65534)).unwrap();
        for around in [&ours, &theirs] {
            std::fs::write(around.join("file"), "").unwrap();
            hand_over_to(&around.join("file"), 65534, 65534).unwrap();
            assert_eq!(owner(&around.join("file")), owner(around));
        }
        // A link is given away, and not what it leads to.
        std::os::unix::fs::symlink(ours.join("file"), theirs.join("link")).unwrap();
        hand_over_to(&theirs.join("link"), 65534, 65534).unwrap();
        assert_eq!(owner(&ours.join("file")), owner(&ours));
    }
}
