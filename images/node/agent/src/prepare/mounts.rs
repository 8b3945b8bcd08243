//! The kernel's file systems and devices, and how mounts propagate.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::error::{Doing, Result};
use crate::files;

/// A file system that process 1 needs: source, target, type, flags, options.
type Mount = (&'static str, &'static str, &'static str, MsFlags, &'static str);

const NO_EXEC: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);
const NO_DEV: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// The file systems in the order of their nesting. A container engine has mounted most of them already; a VM has none.
const BASE: &[Mount] = &[
    ("proc", "/proc", "proc", NO_EXEC, ""),
    ("sysfs", "/sys", "sysfs", NO_EXEC, ""),
    ("devtmpfs", "/dev", "devtmpfs", MsFlags::MS_NOSUID, "mode=755"),
    ("devpts", "/dev/pts", "devpts", MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC), "newinstance,ptmxmode=666,gid=5"),
    ("shm", "/dev/shm", "tmpfs", NO_DEV, "mode=1777"),
    ("tmpfs", "/run", "tmpfs", NO_DEV, "mode=755"),
    ("tmpfs", "/tmp", "tmpfs", NO_DEV, "mode=1777"),
];

/// The mount point of control groups. The engine chooses their version in a container, the agent in a VM.
const CGROUP: Mount = ("cgroup2", "/sys/fs/cgroup", "cgroup2", NO_EXEC, "nsdelegate");

/// The file system in which programs in pods may keep BPF objects. Not every kernel or engine has it.
const OPTIONAL: &[Mount] = &[("bpf", "/sys/fs/bpf", "bpf", NO_EXEC, "mode=700")];

/// Mounts the file systems that are missing.
pub(super) fn base() -> Result<()> {
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

/// Creates the device of the kernel's messages: the kubelet does not start without it (it watches for processes that
/// ran out of memory), and engines leave it out.
pub(super) fn kernel_messages() -> Result<()> {
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

/// Returns true if a path is a mount point: it is on another device than the directory above it.
fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| path.metadata().map(|found| found.dev()).ok();
    path.parent().is_none_or(|parent| device(path) != device(parent))
}

/// Makes file systems of the kernel writable that an engine mounted read-only: control groups, which belong to the
/// node, and sysfs, which pods in the node's network namespace may need to write. Engines do so for a container that is
/// not "privileged", even if it has all available rights.
pub(super) fn writable() -> Result<()> {
    for (path, flags) in read_only(&files::read("/proc/self/mountinfo")?) {
        mount(None::<&str>, path.as_str(), None::<&str>, MsFlags::MS_REMOUNT | flags, None::<&str>)
            .doing(|| format!("make {path} writable"))?;
    }
    Ok(())
}

/// Returns the read-only mounts at and below /sys of proc_pid_mountinfo(5), with the flags to remount each.
fn read_only(mountinfo: &str) -> Vec<(String, MsFlags)> {
    let of_line = |line: &str| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(4);
        let (path, options) = (fields.next()?, fields.next()?);
        let below = path == "/sys" || path.starts_with("/sys/");
        if !below || !options.split(',').any(|option| option == "ro") {
            return None;
        }
        let flag = |option| match option {
            "nosuid" => MsFlags::MS_NOSUID,
            "nodev" => MsFlags::MS_NODEV,
            "noexec" => MsFlags::MS_NOEXEC,
            _ => MsFlags::empty(),
        };
        // If the whole file system is read-only, remounting the mount alone is not enough.
        let whole = file_system.split(' ').nth(2)?.split(',').any(|option| option == "ro");
        let what = if whole { MsFlags::empty() } else { MsFlags::MS_BIND };
        Some((path.to_owned(), options.split(',').map(flag).fold(what, MsFlags::union)))
    };
    mountinfo.lines().filter_map(of_line).collect()
}

/// Lets mounts of the kubelet propagate to the containers that request them (mount propagation of volumes).
pub(super) fn propagate() -> Result<()> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>)
        .doing(|| "make mounts below / shared".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_mounted_read_only() {
        let mountinfo = "131 127 0:89 / /sys ro,nosuid,nodev,noexec,relatime shared:90 - sysfs sysfs ro\n\
            132 131 0:90 / /sys/fs/cgroup rw,nosuid,nodev,noexec - tmpfs tmpfs rw\n\
            133 132 0:27 /a /sys/fs/cgroup/cpu ro,nosuid,nodev,noexec,relatime - cgroup cgroup rw,cpu\n\
            134 127 0:91 / /system ro - tmpfs tmpfs ro\n";
        let expected = [("/sys".to_owned(), NO_EXEC), ("/sys/fs/cgroup/cpu".to_owned(), NO_EXEC | MsFlags::MS_BIND)];
        assert_eq!(read_only(mountinfo), expected);
    }
}
