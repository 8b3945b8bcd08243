//! Deletes a machine in whatever state it is.

use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder};
use kcl_driver_api::Result;

use crate::context::Context;
use crate::engine::{EngineContext as _, status};
use crate::list;
use crate::names::{MachineNames, labelled};

/// Removes the machine's containers, running or not, and its volumes. Nothing of it needs to be whole, or to exist at
/// all.
pub(crate) async fn delete(context: &Context, names: &MachineNames) -> Result<()> {
    let engine = context.engine().await?;
    for container in list::containers(engine, &names.labels()).await? {
        let Some(id) = container.id else { continue };
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match engine.docker.remove_container(&id, Some(options)).await {
            // Another client removes it at this moment: its volumes are free when that is done.
            Err(error) if status(&error) == Some(409) => list::until_removed(engine, &id).await?,
            result => result.if_found(|| format!("remove the container of {}", names.name)).map(|_| ())?,
        }
    }
    let options = ListVolumesOptionsBuilder::default().filters(&labelled(&names.labels())).build();
    let volumes = engine.docker.list_volumes(Some(options)).await.with_context(|| "list volumes")?;
    for volume in volumes.volumes.unwrap_or_default() {
        let options = RemoveVolumeOptionsBuilder::default().force(true).build();
        let removed = engine.docker.remove_volume(&volume.name, Some(options)).await;
        removed.if_found(|| format!("remove the volume {}", volume.name))?;
    }
    Ok(())
}
