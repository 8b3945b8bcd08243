//! Copies a tree of files for a machine: by hard links if files never change in place, else by true copies.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use kcl_driver_api::Result;
use kcl_driver_local::context::Context as _;
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;
use walkdir::WalkDir;

/// The files that are copied rather than linked.
#[derive(Clone, Copy)]
pub enum Copied<'a> {
    /// Files whose names end with one of these.
    Endings(&'a [String]),
    /// All files of the tree.
    All,
}

impl Copied<'_> {
    fn includes(self, name: &str) -> bool {
        match self {
            Copied::All => true,
            Copied::Endings(endings) => endings.iter().any(|ending| name.ends_with(ending)),
        }
    }
}

/// Copies `source` to `target`. Files that exist there are replaced by those of the source.
///
/// Modes, owners, times and extended attributes are kept, and so are device nodes: an overlay's whiteouts are
/// devices 0:0 and its opaque directories an attribute `trusted.overlay.opaque`.
pub fn lay(source: &Path, target: &Path, copied: Copied<'_>) -> Result<()> {
    let mut directories: Vec<(PathBuf, PathBuf, Metadata)> = Vec::new();
    let mut links = true;
    for entry in WalkDir::new(source).sort_by_file_name() {
        let entry = entry.with_context(|| format!("read {}", source.display()))?;
        let (from, to) = (entry.path(), join(target, entry.path().strip_prefix(source).unwrap_or(entry.path())));
        let what = || format!("copy {} to {}", from.display(), to.display());
        let meta = entry.metadata().with_context(what)?;
        let kind = meta.file_type();
        if kind.is_dir() {
            match fs::create_dir(&to) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error).with_context(what),
                _ => directories.push((from.to_owned(), to, meta)),
            }
            continue;
        }
        if kind.is_socket() {
            // The socket belongs to a process that is not here.
            continue;
        }
        match fs::remove_file(&to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(what),
            _ => {}
        }
        if kind.is_file() && links && !copied.includes(&entry.file_name().to_string_lossy()) {
            match fs::hard_link(from, &to) {
                Ok(()) => continue,
                // Another file system or mount, so no file of the tree can be linked.
                Err(error) if error.raw_os_error() == Some(Errno::EXDEV as i32) => links = false,
                // The file, or the file system, allows no more links.
                Err(error)
                    if [Errno::EMLINK, Errno::EPERM].iter().any(|no| error.raw_os_error() == Some(*no as i32)) => {}
                Err(error) => return Err(error).with_context(what),
            }
        }
        if kind.is_symlink() {
            symlink(fs::read_link(from).with_context(what)?, &to).with_context(what)?;
        } else if kind.is_file() {
            fs::copy(from, &to).with_context(what)?;
        } else {
            let bits = SFlag::from_bits_truncate(meta.mode() & SFlag::S_IFMT.bits());
            mknod(&to, bits, Mode::from_bits_truncate(meta.mode()), meta.rdev()).with_context(what)?;
        }
        keep_attributes(from, &to, &meta).with_context(what)?;
    }
    // Last and innermost first, as making a file changes the time of its directory.
    for (from, to, meta) in directories.iter().rev() {
        keep_attributes(from, to, meta).with_context(|| format!("keep the attributes of {}", from.display()))?;
    }
    if !links {
        // Programs of images would be there after a power cut, without their content. Links lead to what is on the disk.
        let what = || format!("write {} to its disk", target.display());
        fs::File::open(target).and_then(|there| Ok(nix::unistd::syncfs(&there)?)).with_context(what)?;
    }
    Ok(())
}

/// Makes `relative` below `upper` with the modes and owners that the directories have below `lower`, as an overlay
/// shows those of the upper directory.
pub fn make_parents(lower: &Path, upper: &Path, relative: &Path) -> Result<()> {
    let mut so_far = PathBuf::new();
    for component in relative.components() {
        so_far.push(component);
        let to = upper.join(&so_far);
        match fs::create_dir(&to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error).with_context(|| format!("make {}", to.display())),
        }
        let below = lower.join(&so_far);
        let keep = match fs::symlink_metadata(&below) {
            Ok(meta) if meta.is_dir() => keep_attributes(&below, &to, &meta),
            _ => fs::set_permissions(&to, fs::Permissions::from_mode(0o755)),
        };
        keep.with_context(|| format!("set the attributes of {}", to.display()))?;
    }
    Ok(())
}

/// Copies owner, mode, extended attributes and times, in an order in which none undoes another.
pub fn keep_attributes(from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
    lchown(to, Some(meta.uid()), Some(meta.gid()))?;
    if !meta.is_symlink() {
        fs::set_permissions(to, meta.permissions())?;
    }
    match xattr::list(from) {
        Ok(names) => {
            for name in names {
                if let Some(value) = xattr::get(from, &name)? {
                    xattr::set(to, &name, &value)?;
                }
            }
        }
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {}
        Err(error) => return Err(error),
    }
    let (accessed, modified) =
        (TimeSpec::new(meta.atime(), meta.atime_nsec()), TimeSpec::new(meta.mtime(), meta.mtime_nsec()));
    utimensat(nix::fcntl::AT_FDCWD, to, &accessed, &modified, UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}

/// Joins paths without the slash that an empty path would add.
fn join(target: &Path, relative: &Path) -> PathBuf {
    if relative.as_os_str().is_empty() { target.to_owned() } else { target.join(relative) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode(path: &Path) -> u64 {
        fs::symlink_metadata(path).unwrap().ino()
    }

    #[test]
    fn links_copies_and_symbolic_links() {
        let tree = tempfile::tempdir().unwrap();
        let (source, target) = (tree.path().join("source"), tree.path().join("target"));
        fs::create_dir_all(source.join("a")).unwrap();
        fs::write(source.join("a/blob"), "x").unwrap();
        fs::write(source.join("a/meta.db"), "y").unwrap();
        fs::set_permissions(source.join("a/meta.db"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(source.join("a"), fs::Permissions::from_mode(0o710)).unwrap();
        symlink("blob", source.join("a/link")).unwrap();
        lay(&source, &target, Copied::Endings(&[".db".into()])).unwrap();
        // The second time replaces what exists.
        lay(&source, &target, Copied::Endings(&[".db".into()])).unwrap();
        assert_eq!(inode(&source.join("a/blob")), inode(&target.join("a/blob")));
        assert_ne!(inode(&source.join("a/meta.db")), inode(&target.join("a/meta.db")));
        assert_eq!(fs::read(target.join("a/meta.db")).unwrap(), b"y");
        assert_eq!(fs::read_link(target.join("a/link")).unwrap(), Path::new("blob"));
        let (from, to) = (fs::metadata(source.join("a")).unwrap(), fs::metadata(target.join("a")).unwrap());
        assert_eq!((from.mode(), from.mtime_nsec()), (to.mode(), to.mtime_nsec()));
    }

    #[test]
    fn whiteouts_and_opaque_directories() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root makes device nodes");
            return;
        }
        let tree = tempfile::tempdir().unwrap();
        let (source, target) = (tree.path().join("source"), tree.path().join("target"));
        fs::create_dir_all(source.join("opaque")).unwrap();
        mknod(&source.join("gone"), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
        // tmpfs may not take trusted attributes; then there is nothing to keep.
        let opaque = xattr::set(source.join("opaque"), "trusted.overlay.opaque", b"y").is_ok();
        lchown(source.join("opaque"), Some(1234), Some(5678)).unwrap();
        lay(&source, &target, Copied::Endings(&[])).unwrap();
        let gone = fs::symlink_metadata(target.join("gone")).unwrap();
        assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
        let kept = fs::metadata(target.join("opaque")).unwrap();
        assert_eq!((kept.uid(), kept.gid()), (1234, 5678));
        if opaque {
            assert_eq!(xattr::get(target.join("opaque"), "trusted.overlay.opaque").unwrap().unwrap(), b"y");
        }
    }

    #[test]
    fn parents_copy_the_lower_attributes() {
        let tree = tempfile::tempdir().unwrap();
        let (lower, upper) = (tree.path().join("lower"), tree.path().join("upper"));
        fs::create_dir_all(lower.join("root")).unwrap();
        fs::create_dir(&upper).unwrap();
        fs::set_permissions(lower.join("root"), fs::Permissions::from_mode(0o700)).unwrap();
        make_parents(&lower, &upper, Path::new("root/new")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&upper.join("root")), mode(&upper.join("root/new"))), (0o700, 0o755));
    }
}
