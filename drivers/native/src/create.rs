//! Makes a machine.

use std::sync::Arc;

use kcl_driver_api::{MachineSpec, Result};
use kcl_driver_local::storage;
use kcl_driver_local::task::{blocking, run_exclusively};
use kcl_driver_oci::create;

use crate::context::Context;
use crate::{delete, network};

/// Makes a machine, or takes over changes to one that exists.
pub(crate) async fn create(context: &Arc<Context>, spec: &MachineSpec) -> Result<()> {
    let names = context.layout.machine(&spec.cluster, &spec.name)?;
    spec.check()?;
    let (own, of_machine, wanted) = (context.clone(), names.clone(), spec.clone());
    let make = async move {
        if create::is_half_made(&of_machine) {
            delete::remove(&own, &of_machine).await?;
        }
        blocking(move || {
            let there = storage::read::<MachineSpec>(&of_machine.spec_file())?;
            if there.is_none() {
                network::free(&wanted.ports)?;
            }
            create::create(&of_machine, &wanted)?;
            Ok(there.map(|there| there.ports).unwrap_or_default())
        })
        .await
    };
    let published = run_exclusively(names.dir.display(), make).await?;
    // Ports that were published before are led to the machine with its network.
    if published != spec.ports {
        network::publish(context, &spec.cluster).await?;
    }
    Ok(())
}
