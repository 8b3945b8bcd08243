//! What machines there are, from their directories and from the kernel.

use std::fs;
use std::path::Path;

use kcl_driver_api::{MachineInfo, MachineSpec, Power, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::storage;

use crate::layout::{Layout, MachineNames};
use crate::process::Process;

/// All machines of a cluster or of all clusters, in the order of their names.
pub fn list(layout: &Layout, cluster: Option<&str>) -> Result<Vec<MachineInfo>> {
    let clusters = match cluster {
        Some(cluster) => vec![cluster.to_owned()],
        None => directories(&layout.clusters())?,
    };
    let mut machines = Vec::new();
    for cluster in clusters {
        // What is no name of a cluster is no directory of ours.
        let Ok(names) = layout.cluster(&cluster) else { continue };
        for name in directories(&names.nodes())? {
            let Ok(names) = layout.machine(&cluster, &name) else { continue };
            machines.push(info(&names));
        }
    }
    Ok(machines)
}

/// What is known of a machine whose directory exists.
pub fn info(names: &MachineNames) -> MachineInfo {
    // A specification that cannot be read is as good as none: the machine can only be deleted.
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

/// The names of the directories in one, sorted; none where it is not there.
pub fn directories(path: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}
