//! Deletes a machine.

use std::sync::Arc;

use kcl_driver_api::Result;
use kcl_driver_local::task::{blocking, run_exclusively};
use kcl_driver_oci::delete;
use kcl_driver_oci::layout::MachineNames;

use crate::context::Context;
use crate::power;

/// Deletes a machine; succeeds if it does not exist.
pub(crate) async fn delete(context: &Arc<Context>, cluster: &str, name: &str) -> Result<()> {
    let names = context.layout.machine(cluster, name)?;
    let (own, of_machine) = (context.clone(), names.clone());
    run_exclusively(names.dir.display(), async move { remove(&own, &of_machine).await }).await
}

/// Kills the machine and removes everything that belongs to it.
pub(crate) async fn remove(context: &Arc<Context>, names: &MachineNames) -> Result<()> {
    delete::begin(names)?;
    power::clear(context, names).await?;
    let names = names.clone();
    blocking(move || delete::end(&names)).await
}
