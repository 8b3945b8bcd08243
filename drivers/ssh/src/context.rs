//! The context that every part of the driver shares.

use std::path::PathBuf;
use std::sync::Arc;

use kcl_driver_api::{Error, ErrorKind, Result};

use crate::host::{Host, Pool, With};
use crate::names::Names;
use crate::record::{self, Hosts};
use crate::send::LocalTrees;

/// The settings that every part of the driver uses.
pub(crate) struct Context {
    pub home: PathBuf,
    pub names: Names,
    pub hosts: Hosts,
    pub runc: Option<PathBuf>,
    pub with: With,
    pub trees: LocalTrees,
    pub pool: Pool,
}

impl Context {
    /// Returns the hosts of a cluster: those that were named, and those that it was made on before.
    pub(crate) fn hosts_of(&self, cluster: &str) -> Result<Hosts> {
        let mut hosts = record::read(&self.home, cluster)?;
        hosts.extend(self.hosts.clone());
        Ok(hosts)
    }

    /// Returns the host of a machine.
    pub(crate) fn host(&self, cluster: &str, machine: &str) -> Result<Option<Arc<Host>>> {
        Ok(self.hosts_of(cluster)?.get(machine).map(|target| self.pool.get(target)))
    }

    pub(crate) fn no_host(machine: &str) -> Error {
        Error::new(ErrorKind::NotFound, format!("no host was named for the machine {machine}")).hint(
            "name one with --host USER@ADDRESS for each node, or as host = \"…\" in its entry of the cluster file",
        )
    }
}
