//! The machine's root: a read-only disk under an overlay, with volumes and trees.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use kcl_node_spec::guest::{GuestConfig, UPPER, VOLUMES, WORK, volume};
use nix::mount::{MsFlags, mount};

use crate::error::{Doing, Error, Result};
use crate::files;

/// The mount point of the root file system while the initrd is the root.
const LOWER: &str = "/kcl/lower";
/// The mount point of the data disk.
const DATA: &str = "/kcl/data";
/// The machine's root before it becomes the root.
pub(super) const ROOT: &str = "/kcl/root";

/// Mounts all disks into the machine's root.
pub(super) fn mount_all(config: &GuestConfig) -> Result<()> {
    disk(&config.root, LOWER, MsFlags::MS_RDONLY | MsFlags::MS_NOATIME)?;
    disk(&config.data, DATA, MsFlags::MS_NOATIME)?;
    let data = Path::new(DATA);
    for directory in [UPPER, WORK, VOLUMES] {
        files::create_dir(&data.join(directory))?;
    }
    files::create_dir(Path::new(ROOT))?;
    let options = format!("lowerdir={LOWER},upperdir={DATA}/{UPPER},workdir={DATA}/{WORK}");
    mount(Some("overlay"), ROOT, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .doing(|| "mount the overlay of the root file system".to_owned())?;
    let mut volumes: Vec<&String> = config.volumes.iter().collect();
    // Outer directories come first, as they would hide inner ones.
    volumes.sort_by_key(|target| Path::new(target).components().count());
    for target in volumes {
        let (from, to) = (data.join(VOLUMES).join(volume(target)), inside(target));
        files::create_dir(&to)?;
        if !from.exists() {
            // A volume starts with the content of the root file system at its path.
            copy(&to, &from)?;
        }
        mount(Some(&from), &to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .doing(|| format!("mount the volume {target}"))?;
    }
    for tree in &config.trees {
        disk(&tree.disk, &inside(&tree.target).to_string_lossy(), MsFlags::MS_RDONLY | MsFlags::MS_NOATIME)?;
    }
    Ok(())
}

/// Returns a path of the machine while the initrd is the root.
pub(super) fn inside(path: &str) -> PathBuf {
    Path::new(ROOT).join(path.trim_start_matches('/'))
}

/// Mounts the disk with a serial.
fn disk(serial: &str, target: &str, flags: MsFlags) -> Result<()> {
    let device = find(serial)?;
    files::create_dir(Path::new(target))?;
    mount(Some(&device), target, Some("ext4"), flags, None::<&str>)
        .doing(|| format!("mount the disk {serial} ({}) at {target}", device.display()))
}

fn find(serial: &str) -> Result<PathBuf> {
    let read = fs::read_dir("/sys/block").doing(|| "read /sys/block".to_owned())?;
    let mut seen = Vec::new();
    for entry in read.flatten() {
        let Ok(found) = fs::read_to_string(entry.path().join("serial")) else { continue };
        if found.trim() == serial {
            return Ok(Path::new("/dev").join(entry.file_name()));
        }
        seen.push(found.trim().to_owned());
    }
    Err(Error::Invalid(format!("the machine has no disk {serial:?}, but {}", seen.join(", "))))
}

/// Copies a directory with owners and modes.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let what = || format!("copy {} to {}", from.display(), to.display());
    let meta = fs::symlink_metadata(from).doing(what)?;
    if meta.is_dir() {
        fs::create_dir(to).doing(what)?;
        for entry in fs::read_dir(from).doing(what)? {
            let entry = entry.doing(what)?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if meta.is_symlink() {
        symlink(fs::read_link(from).doing(what)?, to).doing(what)?;
    } else if meta.is_file() {
        fs::copy(from, to).doing(what)?;
    } else {
        return Ok(());
    }
    lchown(to, Some(meta.uid()), Some(meta.gid())).doing(what)?;
    if !meta.is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(meta.mode())).doing(what)?;
    }
    Ok(())
}
