//! Lists machines from the engine's own records.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum, RestartPolicyNameEnum};
use bollard::query_parameters::{ListContainersOptionsBuilder, ListVolumesOptionsBuilder, WaitContainerOptionsBuilder};
use futures::TryStreamExt;
use futures::future::try_join_all;
use kcl_driver_api::{MachineInfo, MachineSpec, Power, Result};

use crate::context::Context;
use crate::engine::{Engine, EngineContext as _, status};
use crate::names::{CLUSTER, HALF_MADE, HOME, MACHINE, MachineNames, SPEC, labelled};

/// Lists the machines of a cluster, or of all clusters of the home, ordered by name.
pub(crate) async fn list(context: &Context, cluster: Option<&str>) -> Result<Vec<MachineInfo>> {
    let engine = context.engine().await?;
    let names = context.names().await?;
    let Some(cluster) = cluster else {
        let of_home = names.homes()?.into_iter().map(|home| HashMap::from([(HOME.to_owned(), home)]));
        let of_homes = of_home.map(async |labels| of_labels(engine, &labels).await);
        let mut all = try_join_all(of_homes).await?.concat();
        all.sort_by(|one, other| (&one.cluster, &one.name).cmp(&(&other.cluster, &other.name)));
        return Ok(all);
    };
    of_labels(engine, &names.cluster(cluster)?.labels()).await
}

/// Returns the state of a machine; none if nothing of it exists.
pub(crate) async fn info(engine: &Engine, names: &MachineNames) -> Result<Option<MachineInfo>> {
    Ok(of_labels(engine, &names.labels()).await?.pop())
}

/// Tells whether anything of a machine exists.
pub(crate) async fn exists(engine: &Engine, names: &MachineNames) -> Result<bool> {
    Ok(info(engine, names).await?.is_some())
}

async fn of_labels(engine: &Engine, labels: &HashMap<String, String>) -> Result<Vec<MachineInfo>> {
    let volumes = ListVolumesOptionsBuilder::default().filters(&labelled(labels)).build();
    let volumes = async { engine.docker.list_volumes(Some(volumes)).await.with_context(|| "list volumes") };
    let (containers, volumes) = futures::try_join!(containers(engine, labels), volumes)?;
    let mut machines = BTreeMap::new();
    // Volumes without a container remain from an interrupted creation or deletion.
    for volume in volumes.volumes.unwrap_or_default() {
        if let Some(key) = key(&volume.labels) {
            let broken = |(cluster, name): (String, String)| MachineInfo {
                cluster,
                name,
                power: Power::Broken,
                address: None,
                labels: BTreeMap::new(),
            };
            machines.entry(key.clone()).or_insert_with(|| broken(key));
        }
    }
    for info in try_join_all(containers.into_iter().map(|container| of_container(engine, container))).await? {
        let Some(info) = info else { continue };
        machines.insert((info.cluster.clone(), info.name.clone()), info);
    }
    Ok(machines.into_values().collect())
}

/// Returns the containers with these labels, running or not.
pub(crate) async fn containers(engine: &Engine, labels: &HashMap<String, String>) -> Result<Vec<ContainerSummary>> {
    let options = ListContainersOptionsBuilder::default().all(true).filters(&labelled(labels)).build();
    engine.docker.list_containers(Some(options)).await.with_context(|| "list containers")
}

fn key(labels: &HashMap<String, String>) -> Option<(String, String)> {
    Some((labels.get(CLUSTER)?.clone(), labels.get(MACHINE)?.clone()))
}

async fn of_container(engine: &Engine, container: ContainerSummary) -> Result<Option<MachineInfo>> {
    let labels = container.labels.unwrap_or_default();
    let Some((cluster, name)) = key(&labels) else { return Ok(None) };
    let spec: Option<MachineSpec> = labels.get(SPEC).and_then(|text| serde_json::from_str(text).ok());
    let half_made = container.names.iter().flatten().any(|name| name.ends_with(HALF_MADE));
    let power = match container.state {
        _ if half_made || spec.is_none() => Power::Broken,
        Some(ContainerSummaryStateEnum::REMOVING | ContainerSummaryStateEnum::DEAD) => Power::Broken,
        Some(
            ContainerSummaryStateEnum::RUNNING
            | ContainerSummaryStateEnum::PAUSED
            | ContainerSummaryStateEnum::RESTARTING,
        ) => running(engine, container.id.as_deref().unwrap_or_default()).await?,
        Some(ContainerSummaryStateEnum::STOPPING) => Power::Stopping,
        _ => Power::Stopped,
    };
    Ok(Some(MachineInfo {
        cluster,
        name,
        power,
        address: spec.as_ref().map(|spec| spec.address),
        labels: spec.map(|spec| spec.labels).unwrap_or_default(),
    }))
}

/// Returns the power state of a container. A machine whose restart policy is off is about to end: [`crate::power::off`]
/// sets that first.
async fn running(engine: &Engine, id: &str) -> Result<Power> {
    let found = engine.docker.inspect_container(id, None).await.if_found(|| format!("inspect the container {id}"))?;
    let policy = found.and_then(|found| found.host_config?.restart_policy?.name);
    Ok(match policy {
        Some(RestartPolicyNameEnum::UNLESS_STOPPED) => Power::Running,
        _ => Power::Stopping,
    })
}

/// Waits until a container that is being removed is gone.
pub(crate) async fn until_removed(engine: &Engine, id: &str) -> Result<()> {
    let options = WaitContainerOptionsBuilder::default().condition("removed").build();
    let waited: std::result::Result<Vec<_>, _> = engine.docker.wait_container(id, Some(options)).try_collect().await;
    match waited {
        // The container ended with a code other than 0, or was gone already.
        Err(bollard::errors::Error::DockerContainerWaitError { .. }) => Ok(()),
        Err(error) if status(&error) == Some(404) => Ok(()),
        result => result.with_context(|| format!("wait for the removal of the container {id}")).map(|_| ()),
    }
}
