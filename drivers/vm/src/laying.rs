//! Lays out directories of the host as a disk will have them. By true copies: two links to one file of the host would
//! be one file on the disk too, and a change of one a change of the other.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use kcl_driver_api::Result;
use kcl_driver_local::context::Context as _;
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, mknod};
use walkdir::WalkDir;

/// Copies `source` to `target`, and replaces files there. Without root, devices are left out and the rest is the
/// user's: a disk gets its owners later.
pub(crate) fn lay(source: &Path, target: &Path) -> Result<()> {
    for entry in WalkDir::new(source).sort_by_file_name() {
        let entry = entry.with_context(|| format!("read {}", source.display()))?;
        let from = entry.path();
        let relative = from.strip_prefix(source).unwrap_or(from);
        let to = if relative.as_os_str().is_empty() { target.to_owned() } else { target.join(relative) };
        let what = || format!("lay {} out at {}", from.display(), to.display());
        let meta = entry.metadata().with_context(what)?;
        if meta.is_dir() {
            fs::create_dir_all(&to).with_context(what)?;
            keep(from, &to, &meta).with_context(what)?;
            continue;
        }
        match fs::remove_file(&to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(what),
            _ => {}
        }
        file(from, &to, &meta).with_context(what)?;
    }
    Ok(())
}

fn file(from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
    let kind = meta.file_type();
    if kind.is_socket() {
        // A socket of a process that does not run in the machine.
        return Ok(());
    }
    if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if kind.is_file() {
        fs::copy(from, to)?;
    } else {
        let bits = SFlag::from_bits_truncate(meta.mode() & SFlag::S_IFMT.bits());
        match mknod(to, bits, Mode::from_bits_truncate(meta.mode()), meta.rdev()) {
            Err(Errno::EPERM) => return Ok(()),
            result => result?,
        }
    }
    keep(from, to, meta)
}

/// Sets owner, mode and extended attributes, in the order in which none undoes another.
pub(crate) fn keep(from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
    if nix::unistd::geteuid().is_root() {
        lchown(to, Some(meta.uid()), Some(meta.gid()))?;
        if let Ok(names) = xattr::list(from) {
            for name in names {
                if let Some(value) = xattr::get(from, &name)? {
                    xattr::set(to, &name, &value)?;
                }
            }
        }
    }
    if !meta.is_symlink() {
        fs::set_permissions(to, meta.permissions())?;
    }
    Ok(())
}

/// Makes `relative` below `upper` with the modes and owners that the directories have below `lower`, as an overlay
/// shows those of the upper directory.
pub(crate) fn make_parents(lower: &Path, upper: &Path, relative: &Path) -> Result<()> {
    let mut so_far = std::path::PathBuf::new();
    for component in relative.components() {
        so_far.push(component);
        let (below, to) = (lower.join(&so_far), upper.join(&so_far));
        match fs::create_dir(&to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error).with_context(|| format!("make {}", to.display())),
        }
        let kept = match fs::symlink_metadata(&below) {
            Ok(meta) if meta.is_dir() => keep(&below, &to, &meta),
            _ => fs::set_permissions(&to, fs::Permissions::from_mode(0o755)),
        };
        kept.with_context(|| format!("set the attributes of {}", to.display()))?;
    }
    Ok(())
}
