//! The kernel's file systems and devices, and how mounts propagate.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::error::{Doing, Result};
use crate::files;

/// A file system that process 1 expects: source, target, type, flags, options.
type Mount = (&'static str, &'static str, &'static str, MsFlags, &'static str);

const NO_EXEC: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);
const NO_DEV: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// In the order of their nesting. A container's engine made most of them already; a VM has none.
const BASE: &[Mount] = &[
    ("proc", "/proc", "proc", NO_EXEC, ""),
    ("sysfs", "/sys", "sysfs", NO_EXEC, ""),
    ("devtmpfs", "/dev", "devtmpfs", MsFlags::MS_NOSUID, "mode=755"),
    ("devpts", "/dev/pts", "devpts", MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC), "newinstance,ptmxmode=666,gid=5"),
    ("shm", "/dev/shm", "tmpfs", NO_DEV, "mode=1777"),
    ("tmpfs", "/run", "tmpfs", NO_DEV, "mode=755"),
    ("tmpfs", "/tmp", "tmpfs", NO_DEV, "mode=1777"),
];

/// Where control groups are. Of what kind they are is the engine's choice in a container and ours in a VM.
const CGROUP: Mount = ("cgroup2", "/sys/fs/cgroup", "cgroup2", NO_EXEC, "nsdelegate");

/// Programs in pods may keep BPF objects there. Not every kernel or engine has it.
const OPTIONAL: &[Mount] = &[("bpf", "/sys/fs/bpf", "bpf", NO_EXEC, "mode=700")];

/// Mounts what is not there yet.
pub fn base() -> Result<()> {
    for wanted in BASE.iter().chain([&CGROUP]) {
        ensure(wanted)?;
    }
    for wanted in OPTIONAL {
        if Path::new(wanted.1).is_dir() {
            let _ = ensure(wanted);
        }
    }
    Ok(())
}

/// The kernel's messages: the kubelet does not start without the device (it watches for processes that were killed for
/// want of memory), and engines leave it out.
pub fn kernel_messages() -> Result<()> {
    let path = Path::new("/dev/kmsg");
    if path.exists() {
        return Ok(());
    }
    mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(1, 11)).doing(|| "make /dev/kmsg".to_owned())
}

fn ensure(wanted: &Mount) -> Result<()> {
    let &(source, target, kind, flags, options) = wanted;
    files::create_dir(Path::new(target))?;
    if is_mount_point(Path::new(target)) {
        return Ok(());
    }
    let options = Some(options).filter(|options| !options.is_empty());
    mount(Some(source), target, Some(kind), flags, options).doing(|| format!("mount {kind} at {target}"))
}

/// Whether something is mounted there: it lies on another device than the directory above it.
fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| path.metadata().map(|found| found.dev()).ok();
    path.parent().is_none_or(|parent| device(path) != device(parent))
}

/// Lets mounts of the kubelet reach the containers that ask for them (mount propagation of volumes).
pub fn propagate() -> Result<()> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>)
        .doing(|| "make mounts below / shared".to_owned())
}
