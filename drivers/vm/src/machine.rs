//! A machine as files: made, read, removed.

use std::fs;
use std::io::ErrorKind as Io;
use std::path::Path;

use kcl_driver_api::{Error, ErrorKind, MachineInfo, MachineSpec, Result, TreeUse};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::storage;

use crate::handle::power;
use crate::images::Images;
use crate::layout::{Layout, MachineNames};

/// Makes the machine's files, or takes over changes to the specification of one that is there: they hold from its next
/// boot.
///
/// # Errors
/// `State` for what cannot be made, `NotFound` for a directory that is not there, `Host` where a disk cannot be made.
pub fn create(names: &MachineNames, images: &Images, spec: &MachineSpec) -> Result<()> {
    spec.check()?;
    match storage::read::<MachineSpec>(&names.spec_file())? {
        Some(there) if there == *spec => return Ok(()),
        Some(there) => {
            let is_new = |target: &Path| there.trees.iter().all(|old| old.target != target);
            let seed = spec.trees.iter().find(|tree| tree.usage != TreeUse::ReadOnly && is_new(&tree.target));
            if let Some(tree) = seed {
                let message = format!(
                    "the machine {} is there; nothing can be laid down in it at {}",
                    spec.name,
                    tree.target.display()
                );
                return Err(Error::new(ErrorKind::State, message).hint("delete it first"));
            }
        }
        None => {
            // Cut off half-way: nobody can tell what is missing.
            storage::remove_tree(&names.dir)?;
            storage::make_private_directory(&names.dir)?;
            images.data(spec, &names.data())?;
        }
    }
    storage::write(&names.spec_file(), spec)
}

/// What the machine is to be; read each time, as another kcl may have changed it.
///
/// # Errors
/// `State` where it is broken.
pub fn read_spec(names: &MachineNames) -> Result<MachineSpec> {
    let broken = || {
        let message = format!("the creation or deletion of machine {} was cut off", names.name);
        Error::new(ErrorKind::State, message).hint("delete it")
    };
    storage::read(&names.spec_file())?.ok_or_else(broken)
}

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

/// The names of all machines of a cluster or of all clusters that have a directory, in their order.
///
/// # Errors
/// `Host` where a directory cannot be read.
pub fn all(layout: &Layout, cluster: Option<&str>) -> Result<Vec<MachineNames>> {
    let clusters = match cluster {
        Some(cluster) => vec![cluster.to_owned()],
        None => directories(&layout.clusters())?,
    };
    let mut machines = Vec::new();
    for cluster in clusters {
        // What is no name of a cluster is no directory of ours.
        let Ok(names) = layout.cluster(&cluster) else { continue };
        let found = directories(&names.machines())?;
        machines.extend(found.iter().filter_map(|name| layout.machine(&cluster, name).ok()));
    }
    Ok(machines)
}

/// What the files of a machine tell of it; none where it has no directory.
pub fn info(names: &MachineNames, runs: bool) -> Option<MachineInfo> {
    if !names.dir.is_dir() {
        return None;
    }
    // A specification that cannot be read is as good as none: the machine can only be deleted.
    let spec: Option<MachineSpec> = storage::read(&names.spec_file()).unwrap_or_default();
    Some(MachineInfo {
        cluster: names.cluster.name.clone(),
        name: names.name.clone(),
        power: power(names, spec.is_some(), runs),
        address: spec.as_ref().map(|spec| spec.address),
        labels: spec.map(|spec| spec.labels).unwrap_or_default(),
    })
}

/// What the first process wrote on its console since the machine was last powered on.
///
/// # Errors
/// `Host` where it cannot be read.
pub fn console(names: &MachineNames) -> Result<Vec<u8>> {
    let path = names.console();
    match fs::read(&path) {
        // Never powered on.
        Err(error) if error.kind() == Io::NotFound => Ok(Vec::new()),
        result => result.with_context(|| format!("read {}", path.display())),
    }
}

/// The names of the directories in one, sorted; none where it is not there.
///
/// # Errors
/// `Host` where it cannot be read.
pub fn directories(path: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == Io::NotFound => return Ok(Vec::new()),
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
