//! Which hosts a cluster has, so that it can be listed and deleted without anything else being known of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use kcl_driver_api::Result;
use kcl_driver_local::storage;

use crate::target::Target;

/// One change at a time; other processes are kept away by kcl's lock of the cluster.
static TURN: Mutex<()> = Mutex::new(());

/// The hosts by the names of their machines.
pub type Hosts = BTreeMap<String, Target>;

fn file(home: &Path, cluster: &str) -> PathBuf {
    home.join("clusters").join(cluster).join("ssh.json")
}

/// The hosts that a cluster was made on; none where it has none over SSH.
pub fn read(home: &Path, cluster: &str) -> Result<Hosts> {
    Ok(storage::read(&file(home, cluster))?.unwrap_or_default())
}

/// Adds the host of a machine.
pub(crate) fn add(home: &Path, cluster: &str, machine: &str, target: &Target) -> Result<()> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut hosts = read(home, cluster)?;
    if hosts.get(machine) == Some(target) {
        return Ok(());
    }
    hosts.insert(machine.to_owned(), target.clone());
    let path = file(home, cluster);
    storage::make_private_directory(path.parent().unwrap_or(home))?;
    storage::write(&path, &hosts)
}

/// The cluster has no hosts any more.
pub(crate) fn remove(home: &Path, cluster: &str) -> Result<()> {
    let path = file(home, cluster);
    storage::remove_file(&path)?;
    storage::remove_if_empty(path.parent().unwrap_or(home))
}

/// The clusters that have a record.
pub(crate) fn clusters(home: &Path) -> Result<Vec<String>> {
    let all = kcl_driver_local::storage::directories(&home.join("clusters"))?;
    Ok(all.into_iter().filter(|cluster| file(home, cluster).exists()).collect())
}
