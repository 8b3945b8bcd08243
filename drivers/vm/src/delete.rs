//! Removes the files of a machine.

use kcl_driver_api::Result;
use kcl_driver_local::storage;

use crate::layout::MachineNames;

/// Removes the machine's files. It does not run. What is left if this is cut off is seen as broken.
///
/// # Errors
/// `Host` where something cannot be removed.
pub fn remove(names: &MachineNames) -> Result<()> {
    storage::remove_file(&names.spec_file())?;
    storage::remove_tree(&names.run)?;
    storage::remove_tree(&names.dir)?;
    storage::remove_if_empty(&names.cluster.run)
}
