//! Mounts directories of the host in a running machine: they come and go without a restart.
//!
//! A mount is opened on the host as a descriptor (open_tree(2)) and attached in the machine's mount namespace
//! (move_mount(2)). No namespace except the machine's ever has it, so it goes with the machine.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use kcl_driver_api::{HostMount, MachineSpec, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::storage::{self, mounts_below};
use kcl_driver_local::task::in_own_thread;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statvfs::{FsFlags, statvfs};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::access;
use crate::files;
use crate::layout::MachineNames;
use crate::mounts::in_private_namespace;
use crate::process::Process;

/// Makes these the mounts of the machine, running or not, and removes all others.
pub fn set(names: &MachineNames, wanted: &[HostMount]) -> Result<()> {
    let before = access::spec(names)?;
    if before.mounts == wanted {
        return Ok(());
    }
    let after = MachineSpec { mounts: wanted.to_vec(), ..before.clone() };
    let (kept, gone): (Vec<_>, Vec<_>) = before.mounts.into_iter().partition(|mount| wanted.contains(mount));
    let new: Vec<&HostMount> = wanted.iter().filter(|mount| !kept.contains(mount)).collect();
    new.iter().try_for_each(|mount| mount.check())?;
    if let Some(init) = Process::init(names) {
        // The document lists what surely exists, so that after an interruption the next call does the rest.
        storage::write(&names.spec_file(), &MachineSpec { mounts: kept.clone(), ..after.clone() })?;
        for mount in &gone {
            detach(&init, &mount.target)?;
        }
        for mount in new {
            attach(&init, mount)?;
        }
    }
    storage::write(&names.spec_file(), &after)
}

/// This replaces what an interrupted call left there.
fn attach(init: &Process, wanted: &HostMount) -> Result<()> {
    let tree = pick_up(wanted)?;
    detach(init, &wanted.target)?;
    within(init, || {
        let target = files::make_directories(&files::open_root(Path::new("/"))?, &wanted.target)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&tree, "", &target, "", flags).with_context(|| format!("mount {wanted} in the machine"))
    })
}

/// Opens the directory with everything that is mounted below it, in a namespace of its own, so that later mounts below
/// it, on either side, do not reach the other side.
fn pick_up(wanted: &HostMount) -> Result<OwnedFd> {
    let source = &wanted.source;
    let what = || format!("open {}", source.display());
    in_private_namespace(|| {
        if wanted.read_only {
            let again = |flags| mount(Some(source), source, None::<&str>, flags, None::<&str>).with_context(what);
            again(MsFlags::MS_BIND | MsFlags::MS_REC)?;
            let here = fs::read_to_string("/proc/thread-self/mountinfo").with_context(what)?;
            for inner in mounts_below(&here, source) {
                // A remount drops the options that it does not name.
                let kept = options(&inner).with_context(what)?;
                let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | kept;
                mount(None::<&str>, &inner, None::<&str>, flags, None::<&str>).with_context(what)?;
            }
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        open_tree(rustix::fs::CWD, source, flags).with_context(what)
    })
}

/// Returns the options of the mount at `path`, as flags of mount(2).
fn options(path: &Path) -> nix::Result<MsFlags> {
    const OPTIONS: [(FsFlags, MsFlags); 6] = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    let found = statvfs(path)?.flags();
    Ok(OPTIONS.iter().filter(|(there, _)| found.contains(*there)).fold(MsFlags::empty(), |all, (_, flag)| all | *flag))
}

/// Unmounts a directory. Processes that use it keep it until they end.
fn detach(init: &Process, target: &Path) -> Result<()> {
    within(init, || {
        loop {
            match umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                Ok(()) => {}
                // Nothing is mounted there, or the directory does not exist.
                Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
                Err(error) => {
                    return Err(error).with_context(|| format!("unmount {} in the machine", target.display()));
                }
            }
        }
    })
}

/// Runs `work` in the machine's mount namespace.
fn within<T: Send>(init: &Process, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    in_own_thread(|| {
        let what = || format!("enter the mount namespace of process {}", init.pid);
        // Only a thread that shares no root directory with others can enter a mount namespace.
        unshare(CloneFlags::CLONE_FS).with_context(what)?;
        setns(init.fd(), CloneFlags::CLONE_NEWNS).with_context(what)?;
        work()
    })
}

#[cfg(test)]
mod tests {
    use nix::sys::statvfs::fstatvfs;

    use super::*;

    #[test]
    fn a_read_only_mount_keeps_the_options_of_its_source() {
        if !nix::unistd::geteuid().is_root() {
            return eprintln!("skipped: only root mounts");
        }
        let place = tempfile::tempdir().unwrap();
        let flags = in_private_namespace(|| {
            let options = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
            mount(Some("tmpfs"), place.path(), Some("tmpfs"), options, None::<&str>).with_context(|| "mount")?;
            let wanted = HostMount { source: place.path().to_owned(), target: "/there".into(), read_only: true };
            Ok(fstatvfs(pick_up(&wanted)?).with_context(|| "look")?.flags())
        });
        let flags = flags.unwrap();
        for option in
            [FsFlags::ST_RDONLY, FsFlags::ST_NOSUID, FsFlags::ST_NODEV, FsFlags::ST_NOEXEC, FsFlags::ST_NOATIME]
        {
            assert!(flags.contains(option), "{option:?} is missing: {flags:?}");
        }
    }
}
