//! Deletes a machine.

use std::sync::Arc;

use kcl_driver_api::Result;
use kcl_driver_local::storage;
use kcl_driver_local::task::{blocking, run_exclusively};

use crate::hypervisor::{Hypervisor, clear};
use crate::layout::MachineNames;

/// Deletes a machine, whether it runs or not; succeeds if it does not exist.
///
/// # Errors
/// `Engine` if it does not end, `Host` if something cannot be removed.
pub async fn delete<H: Hypervisor>(hypervisor: Arc<H>, names: MachineNames) -> Result<()> {
    let machine = names.dir.display().to_string();
    run_exclusively(machine, async move {
        // First, so that the rest is seen as broken after an interruption.
        let file = names.spec_file();
        blocking(move || storage::remove_file(&file)).await?;
        clear(&*hypervisor, &names).await?;
        hypervisor.forget(&names).await?;
        blocking(move || remove(&names)).await
    })
    .await
}

fn remove(names: &MachineNames) -> Result<()> {
    storage::remove_tree(&names.run)?;
    storage::remove_tree(&names.dir)?;
    storage::remove_if_empty(&names.cluster.run)
}
