//! Lists machines from their directories and from the kernel.

use kcl_driver_api::{MachineInfo, MachineSpec, Power, Result};
use kcl_driver_local::storage::{self, directories};

use crate::layout::{Layout, MachineNames};
use crate::process::Process;

/// Lists the machines of a cluster, or of all clusters, ordered by name.
pub fn list(layout: &Layout, cluster: Option<&str>) -> Result<Vec<MachineInfo>> {
    let clusters = match cluster {
        Some(cluster) => vec![cluster.to_owned()],
        None => directories(&layout.clusters())?,
    };
    let mut machines = Vec::new();
    for cluster in clusters {
        // A directory whose name is not that of a cluster is not kcl's.
        let Ok(names) = layout.cluster(&cluster) else { continue };
        for name in directories(&names.nodes())? {
            let Ok(names) = layout.machine(&cluster, &name) else { continue };
            machines.push(info(&names));
        }
    }
    Ok(machines)
}

/// Returns the state of a machine whose directory exists.
pub fn info(names: &MachineNames) -> MachineInfo {
    // A specification that cannot be read counts as missing: the machine can only be deleted.
    let spec: Option<MachineSpec> = storage::read(&names.spec_file()).unwrap_or_default();
    let power = match (&spec, Process::init(names)) {
        (None, _) => Power::Broken,
        (Some(_), Some(_)) if names.stopping().exists() => Power::Stopping,
        (Some(_), Some(_)) => Power::Running,
        (Some(_), None) => Power::Stopped,
    };
    MachineInfo {
        cluster: names.cluster_name.clone(),
        name: names.name.clone(),
        power,
        address: spec.as_ref().map(|spec| spec.address),
        labels: spec.map(|spec| spec.labels).unwrap_or_default(),
    }
}
