//! Deleting a machine, in whatever state it is.

use std::sync::Arc;

use kcl_driver_api::Result;
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use crate::Context;
use crate::cgroup;
use crate::disk;
use crate::doing::{Doing, blocking};
use crate::layout::MachineNames;
use crate::mounts;
use crate::power;

/// Kills the machine and removes all that belongs to it. Nothing of it needs to be whole, or there at all.
pub(crate) async fn delete(context: &Arc<Context>, names: &MachineNames) -> Result<()> {
    // First, so that what is left if this is cut off is seen as broken and not as a machine.
    disk::remove_file(&names.spec_file())?;
    power::clear(context, names).await?;
    let names = names.clone();
    blocking(move || {
        unmount_below(&names)?;
        disk::remove_tree(&names.dir)
    })
    .await
}

/// Removing files through a mount would remove those of somebody else. The driver makes no mounts that the host sees;
/// a user may have.
fn unmount_below(names: &MachineNames) -> Result<()> {
    for target in mounts::below(&cgroup::mountinfo()?, &names.dir) {
        match umount2(&target, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::EBUSY) => {
                tracing::warn!("{} is in use; it is detached and ends with its last user", target.display());
                umount2(&target, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH)
                    .doing(|| format!("unmount {}", target.display()))?;
            }
            Err(error) => return Err(error).doing(|| format!("unmount {}", target.display())),
        }
    }
    Ok(())
}
