//! Reads and writes files of a machine through its root without ever leaving it.
//!
//! Every path is resolved by openat2(2) with `RESOLVE_IN_ROOT`, so symbolic links and `..` mean what they mean in the
//! machine.

use std::fs::{self, File as HostFile};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use kcl_driver_api::{Error, ErrorKind, File, Result};
use kcl_driver_local::context::Context as _;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// The root of a machine as a descriptor.
pub fn open_root(path: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty()).with_context(|| format!("open {}", path.display()))
}

/// Opens the file at `path` in the root.
fn open_in(root: &OwnedFd, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    openat2(root, path, OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve))
}

/// Opens a directory in the root. Missing directories are made with mode 0755.
pub fn make_directories(root: &OwnedFd, path: &Path) -> Result<OwnedFd> {
    const DIRECTORY: OFlag = OFlag::O_DIRECTORY;
    let inside = |at: &Path| format!("open the directory {} in the machine", at.display());
    match open_in(root, path, DIRECTORY) {
        Err(Errno::ENOENT) => {}
        result => return result.with_context(|| inside(path)),
    }
    let mut so_far = PathBuf::from("/");
    let mut directory = open_in(root, &so_far, DIRECTORY).with_context(|| inside(&so_far))?;
    for component in path.components() {
        let Component::Normal(name) = component else { continue };
        so_far.push(name);
        directory = match open_in(root, &so_far, DIRECTORY) {
            Err(Errno::ENOENT) => {
                match mkdirat(&directory, name, Mode::from_bits_truncate(0o755)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => {
                        return Err(error).with_context(|| format!("make {} in the machine", so_far.display()));
                    }
                }
                let made = open_in(root, &so_far, DIRECTORY).with_context(|| inside(&so_far))?;
                // The umask may have changed the mode.
                HostFile::from(made.try_clone().with_context(|| inside(&so_far))?)
                    .set_permissions(fs::Permissions::from_mode(0o755))
                    .with_context(|| format!("set the mode of {} in the machine", so_far.display()))?;
                made
            }
            result => result.with_context(|| inside(&so_far))?,
        };
    }
    Ok(directory)
}

/// Writes a file into the root: whole or not at all.
pub fn put(root: &OwnedFd, file: &File) -> Result<()> {
    let path = check(&file.path)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(ErrorKind::State, format!("{} is not the path of a file", path.display())));
    };
    let directory = make_directories(root, parent)?;
    let temporary = format!(".kcl-{}-{}", std::process::id(), name.to_string_lossy());
    let what = || format!("write {} in the machine", path.display());
    let write = || -> Result<()> {
        let how = OpenHow::new()
            .flags(OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .mode(Mode::from_bits_truncate(0o600))
            .resolve(ResolveFlag::RESOLVE_BENEATH);
        let mut out = HostFile::from(openat2(&directory, temporary.as_str(), how).with_context(what)?);
        out.write_all(&file.content).with_context(what)?;
        out.set_permissions(fs::Permissions::from_mode(file.mode)).with_context(what)?;
        out.sync_all().with_context(what)?;
        renameat(&directory, temporary.as_str(), &directory, name).with_context(what)
    };
    write().inspect_err(|_| {
        // The first error is the one to report.
        let _ = unlinkat(&directory, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
    })
}

/// Reads a file in the root.
pub fn get(root: &OwnedFd, path: &Path) -> Result<Vec<u8>> {
    let path = check(path)?;
    // Without blocking, as the file may be a FIFO.
    let fd = open_in(root, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK).map_err(|errno| match errno {
        Errno::ENOENT | Errno::ENOTDIR => {
            Error::new(ErrorKind::NotFound, format!("there is no {} in the machine", path.display())).source(errno)
        }
        _ => Error::new(ErrorKind::Host, format!("could not open {} in the machine: {errno}", path.display()))
            .source(errno),
    })?;
    let mut file = HostFile::from(fd);
    let what = || format!("read {} in the machine", path.display());
    let kind = file.metadata().with_context(what)?.file_type();
    if !kind.is_file() {
        let found = if kind.is_dir() {
            "a directory"
        } else if kind.is_fifo() {
            "a FIFO"
        } else {
            "a device"
        };
        return Err(Error::new(ErrorKind::State, format!("{} in the machine is {found}, not a file", path.display())));
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content).with_context(what)?;
    Ok(content)
}

fn check(path: &Path) -> Result<&Path> {
    if path.is_absolute() && !path.components().any(|part| part == Component::ParentDir) {
        return Ok(path);
    }
    let message = format!("{} is not a path in a machine: it must be absolute and without \"..\"", path.display());
    Err(Error::new(ErrorKind::State, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> File {
        File { path: path.into(), mode: 0o640, content: content.into() }
    }

    #[test]
    fn symbolic_links_stay_inside() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path().join("root");
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        std::os::unix::fs::symlink("/usr/lib", root.join("lib")).unwrap();
        std::os::unix::fs::symlink("../../../../..", root.join("out")).unwrap();
        let fd = open_root(&root).unwrap();
        put(&fd, &file("/lib/a/b", "1")).unwrap();
        put(&fd, &file("/out/c", "2")).unwrap();
        assert_eq!(fs::read(root.join("usr/lib/a/b")).unwrap(), b"1");
        assert_eq!(fs::read(root.join("c")).unwrap(), b"2");
        assert_eq!(get(&fd, Path::new("/out/lib/a/b")).unwrap(), b"1");
        assert_eq!(fs::metadata(root.join("c")).unwrap().permissions().mode() & 0o7777, 0o640);
        let names: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 4, "no temporary file is left: {names:?}");
    }

    #[test]
    fn anything_but_a_file_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let fd = open_root(root.path()).unwrap();
        assert_eq!(get(&fd, Path::new("/nothing")).unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(get(&fd, Path::new("/")).unwrap_err().kind, ErrorKind::State);
        assert_eq!(get(&fd, Path::new("relative")).unwrap_err().kind, ErrorKind::State);
        assert_eq!(put(&fd, &file("/a/../b", "")).unwrap_err().kind, ErrorKind::State);
    }
}
