//! Mounts a machine's file systems where no other process sees them.
//!
//! runc is started, and files of a stopped machine are reached, from a thread with a mount namespace of its own. A
//! mount made there ends with the last process that uses the namespace, so the host keeps no mount even if kcl is
//! killed. Nothing of a machine's mounts propagates to the host either, whatever the host's own propagation.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use kcl_driver_api::{MachineSpec, Result, TreeUse};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::task::in_own_thread;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};

use crate::files;
use crate::layout::MachineNames;

/// A directory of the host that is mounted into a machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Bind {
    /// The directory on the host.
    pub source: PathBuf,
    /// The directory in the machine.
    pub target: PathBuf,
    /// The machine may not write to it.
    pub read_only: bool,
}

/// Returns all directories that are mounted into a machine, outer ones first.
pub fn binds(names: &MachineNames, spec: &MachineSpec) -> Vec<Bind> {
    let volumes = spec.volumes.iter().map(|volume| Bind {
        source: names.volume(volume),
        target: volume.clone(),
        read_only: false,
    });
    let trees = spec.trees.iter().filter(|tree| tree.usage == TreeUse::ReadOnly).map(|tree| Bind {
        source: tree.source.clone(),
        target: tree.target.clone(),
        read_only: true,
    });
    let mut binds: Vec<Bind> = volumes.chain(trees).collect();
    binds.sort_by_key(|bind| bind.target.components().count());
    binds
}

/// Runs `work` in a thread with a mount namespace and a umask of its own.
pub fn in_private_namespace<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    in_own_thread(|| {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).with_context(|| "make a mount namespace")?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
            .with_context(|| "make the mounts of a new namespace private")?;
        umask(Mode::from_bits_truncate(0o022));
        work()
    })
}

/// Mounts the machine's root file system. Call this only in a private namespace.
///
/// The overlay is `volatile` (Documentation/filesystems/overlayfs.rst): without it every unmount writes back all dirty
/// pages of the file system of `$KCL_HOME`, for seconds. What must survive a power failure is in volumes.
pub fn mount_root(names: &MachineNames, spec: &MachineSpec) -> Result<()> {
    // The mount before this one leaves it even if it ended well; the kernel refuses the work directory with it.
    match fs::remove_dir_all(names.work().join("work/incompat")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("clean {}", names.work().display()));
        }
        _ => {}
    }
    // index=off: the mount before this one may still be ending, and an index would take it for a rival.
    let options = format!(
        "index=off,lowerdir={},upperdir={},workdir={}",
        escape(&spec.rootfs),
        escape(&names.upper()),
        escape(&names.work())
    );
    let overlay =
        |options: &str| mount(Some("overlay"), &names.rootfs(), Some("overlay"), MsFlags::empty(), Some(options));
    match overlay(&format!("volatile,{options}")) {
        // The kernel is older than Linux 5.10.
        Err(Errno::EINVAL) => overlay(&options),
        result => result,
    }
    .with_context(|| format!("mount an overlay of {} at {}", spec.rootfs.display(), names.rootfs().display()))
}

/// Runs `work` with the root of a stopped machine, with all its volumes and trees mounted.
pub fn with_stopped_root<T: Send>(
    names: &MachineNames,
    spec: &MachineSpec,
    work: impl FnOnce(&OwnedFd) -> Result<T> + Send,
) -> Result<T> {
    in_private_namespace(|| {
        mount_root(names, spec)?;
        let result = (|| {
            let root = files::open_root(&names.rootfs())?;
            for bind in binds(names, spec) {
                let target = files::make_directories(&root, &bind.target)?;
                let target = format!("/proc/self/fd/{}", target.as_raw_fd());
                mount(
                    Some(&bind.source),
                    target.as_str(),
                    None::<&str>,
                    MsFlags::MS_BIND | MsFlags::MS_REC,
                    None::<&str>,
                )
                .with_context(|| format!("mount {} at {}", bind.source.display(), bind.target.display()))?;
            }
            work(&root)
        })();
        // The mounts would go with the namespace, but some time later; they must be gone when this returns. Detached,
        // as that takes the whole tree at once and nothing in this namespace uses it any more.
        umount2(&names.rootfs(), MntFlags::MNT_DETACH)
            .with_context(|| format!("unmount {}", names.rootfs().display()))?;
        result
    })
}

/// Escapes a path for overlayfs's options.
fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_colons_in_paths() {
        assert_eq!(escape(Path::new("/a,b:c")), "/a\\,b\\:c");
    }
}
