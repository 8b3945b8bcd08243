//! Deletes a machine in whatever state it is. Nothing of it needs to be whole, or to exist at all.

use kcl_driver_api::Result;
use kcl_driver_local::context::Context as _;
use kcl_driver_local::storage::{self, mounts_below};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use crate::cgroup;
use crate::layout::MachineNames;

/// Begins a deletion: what is left after an interruption is seen as broken and not as a machine.
pub fn begin(names: &MachineNames) -> Result<()> {
    storage::remove_file(&names.spec_file())
}

/// Ends a deletion: removes the directory of a machine of which nothing runs any more.
pub fn end(names: &MachineNames) -> Result<()> {
    unmount_below(names)?;
    storage::remove_tree(&names.dir)
}

/// Detaches mounts below the machine's directory. Removing files through a mount would remove those of somebody else.
/// The driver makes no mounts that the host sees, but a user may have.
fn unmount_below(names: &MachineNames) -> Result<()> {
    for target in mounts_below(&cgroup::mountinfo()?, &names.dir) {
        match umount2(&target, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::EBUSY) => {
                tracing::warn!("{} is in use; it is detached and ends with its last user", target.display());
                umount2(&target, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH)
                    .with_context(|| format!("unmount {}", target.display()))?;
            }
            Err(error) => return Err(error).with_context(|| format!("unmount {}", target.display())),
        }
    }
    Ok(())
}
