//! Files of directories that others have written: never outside them, and nothing but plain files.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open as open_directory, openat2};
use nix::sys::stat::Mode;

/// Opens the plain file at `path` below `directory`, by openat2(2) with `RESOLVE_BENEATH`.
///
/// # Errors
/// `CrossesDevices` if the path or a link leads out of the directory; `InvalidInput` for what is no plain file, as a pipe
/// that nobody writes to would be waited for without an end.
pub fn open(directory: &Path, path: impl AsRef<Path>) -> io::Result<File> {
    let root = open_directory(directory, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let file: OwnedFd = openat2(root, path.as_ref(), OpenHow::new().flags(flags).resolve(resolve))?;
    let file = File::from(file);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn nothing_but_plain_files_of_the_directory_is_opened() {
        let outer = tempfile::tempdir().unwrap();
        let directory = outer.path().join("image");
        std::fs::create_dir_all(directory.join("sub")).unwrap();
        std::fs::write(outer.path().join("secret"), "secret").unwrap();
        std::fs::write(directory.join("sub/file"), "text").unwrap();
        symlink("sub/file", directory.join("inside")).unwrap();
        symlink("sub", directory.join("folder")).unwrap();
        symlink("../secret", directory.join("outside")).unwrap();
        symlink(outer.path().join("secret"), directory.join("absolute")).unwrap();
        symlink("..", directory.join("parent")).unwrap();
        nix::unistd::mkfifo(&directory.join("pipe"), Mode::S_IRWXU).unwrap();
        let opened = |path: &str| open(&directory, path).map(|file| file.metadata().unwrap().len());
        for path in ["sub/file", "inside", "folder/file", "sub/../inside"] {
            assert_eq!(opened(path).unwrap(), 4, "{path}");
        }
        let secret = outer.path().join("secret");
        for path in ["outside", "absolute", "parent/secret", "../secret", secret.to_str().unwrap()] {
            assert_eq!(opened(path).unwrap_err().kind(), io::ErrorKind::CrossesDevices, "{path}");
        }
        for path in ["pipe", "sub"] {
            assert_eq!(opened(path).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{path}");
        }
        assert_eq!(opened("nothing").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
