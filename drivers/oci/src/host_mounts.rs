//! Directories of the host in a machine that runs: they come and go without a restart.
//!
//! A mount is picked up on the host as a descriptor (open_tree(2)) and set down in the machine's mount namespace
//! (move_mount(2)). No namespace but the machine's ever has it, so it goes with the machine.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use kcl_driver_api::{HostMount, MachineSpec, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::storage;
use kcl_driver_local::task::in_own_thread;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::access;
use crate::files;
use crate::layout::MachineNames;
use crate::mounts::{self, in_private_namespace};
use crate::process::Process;

/// Has these in the machine from now on, running or not, and no others of before.
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
        // What is written is what is sure to be there, so that after a cut the next call does the rest.
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

/// In place of what such a call left there that was cut off.
fn attach(init: &Process, wanted: &HostMount) -> Result<()> {
    let tree = pick_up(wanted)?;
    detach(init, &wanted.target)?;
    within(init, || {
        let target = files::make_directories(&files::open_root(Path::new("/"))?, &wanted.target)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&tree, "", &target, "", flags).with_context(|| format!("mount {wanted} in the machine"))
    })
}

/// The directory with all that is mounted below it. In a namespace apart, so that mounts that are made below it later, on
/// either side, do not reach the other.
fn pick_up(wanted: &HostMount) -> Result<OwnedFd> {
    let source = &wanted.source;
    let what = || format!("pick up {}", source.display());
    in_private_namespace(|| {
        if wanted.read_only {
            let again = |flags| mount(Some(source), source, None::<&str>, flags, None::<&str>).with_context(what);
            again(MsFlags::MS_BIND | MsFlags::MS_REC)?;
            let here = fs::read_to_string("/proc/thread-self/mountinfo").with_context(what)?;
            for inner in mounts::below(&here, source) {
                let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
                mount(None::<&str>, &inner, None::<&str>, flags, None::<&str>).with_context(what)?;
            }
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        open_tree(rustix::fs::CWD, source, flags).with_context(what)
    })
}

/// Takes away what is mounted there. Who uses it keeps it until then.
fn detach(init: &Process, target: &Path) -> Result<()> {
    within(init, || {
        loop {
            match umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                Ok(()) => {}
                // Nothing is mounted there, or there is no such place.
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
        // A mount namespace can only be entered by a thread that shares no root directory with others.
        unshare(CloneFlags::CLONE_FS).with_context(what)?;
        setns(init.fd(), CloneFlags::CLONE_NEWNS).with_context(what)?;
        work()
    })
}
