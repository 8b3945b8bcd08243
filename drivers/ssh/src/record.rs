//! The record of a cluster's hosts, from which alone it can be listed and deleted.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use kcl_driver_api::Result;
use kcl_driver_local::storage;

use crate::target::Target;

/// The hosts by the names of their machines.
pub type Hosts = BTreeMap<String, Target>;

fn file(home: &Path, cluster: &str) -> PathBuf {
    home.join("clusters").join(cluster).join("ssh.json")
}

/// Reads the hosts that a cluster was made on; empty if it has none over SSH.
pub(crate) fn read(home: &Path, cluster: &str) -> Result<Hosts> {
    Ok(storage::read(&file(home, cluster))?.unwrap_or_default())
}

/// Adds the host of a machine. Machines are added at the same time: a lock (flock(2)) on the directory lasts as long as
/// one change.
pub(crate) fn add(home: &Path, cluster: &str, machine: &str, target: &Target) -> Result<()> {
    let path = file(home, cluster);
    let directory = path.parent().unwrap_or(home);
    storage::make_private_directory(directory)?;
    let lock = File::open(directory)?;
    lock.lock()?;
    let mut hosts = read(home, cluster)?;
    if hosts.get(machine) == Some(target) {
        return Ok(());
    }
    hosts.insert(machine.to_owned(), target.clone());
    storage::write(&path, &hosts)
}

/// Removes the record of a cluster that has no hosts any more.
pub(crate) fn remove(home: &Path, cluster: &str) -> Result<()> {
    let path = file(home, cluster);
    storage::remove_file(&path)?;
    storage::remove_if_empty(path.parent().unwrap_or(home))
}

/// Lists the clusters that have a record.
pub(crate) fn clusters(home: &Path) -> Result<Vec<String>> {
    let all = kcl_driver_local::storage::directories(&home.join("clusters"))?;
    Ok(all.into_iter().filter(|cluster| file(home, cluster).exists()).collect())
}
