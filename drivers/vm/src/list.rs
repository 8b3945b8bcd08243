//! Finds machines by their files.

use kcl_driver_api::{MachineInfo, MachineSpec, Power, Result};
use kcl_driver_local::storage::{self, directories};

use crate::layout::{Layout, MachineNames};

/// Lists the names of all machines of a cluster or of all clusters that have a directory, in order.
///
/// # Errors
/// `Host` if a directory cannot be read.
pub fn all(layout: &Layout, cluster: Option<&str>) -> Result<Vec<MachineNames>> {
    let clusters = match cluster {
        Some(cluster) => vec![cluster.to_owned()],
        None => directories(&layout.clusters())?,
    };
    let mut machines = Vec::new();
    for cluster in clusters {
        // A directory without a valid name is not kcl's.
        let Ok(names) = layout.cluster(&cluster) else { continue };
        let found = directories(&names.machines())?;
        machines.extend(found.iter().filter_map(|name| layout.machine(&cluster, name).ok()));
    }
    Ok(machines)
}

/// Reads the facts about a machine from its files; none if it has no directory.
pub fn info(names: &MachineNames, runs: bool) -> Option<MachineInfo> {
    if !names.dir.is_dir() {
        return None;
    }
    // A machine whose specification cannot be read can only be deleted.
    let spec: Option<MachineSpec> = storage::read(&names.spec_file()).unwrap_or_default();
    Some(MachineInfo {
        cluster: names.cluster.name.clone(),
        name: names.name.clone(),
        power: power(names, spec.is_some(), runs),
        address: spec.as_ref().map(|spec| spec.address),
        labels: spec.map(|spec| spec.labels).unwrap_or_default(),
    })
}

/// Returns the power state of a machine that is whole or not, and runs or not.
pub fn power(names: &MachineNames, whole: bool, runs: bool) -> Power {
    match (whole, runs) {
        (false, _) => Power::Broken,
        (true, true) if names.stopping().exists() => Power::Stopping,
        (true, true) => Power::Running,
        (true, false) => Power::Stopped,
    }
}
