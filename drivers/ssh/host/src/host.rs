//! The parts of kcl on a host.

use std::path::Path;

use kcl_driver_api::{Error, ErrorKind, Result};
use kcl_driver_oci::layout::{Layout, MachineNames};
use kcl_node_spec::Footprint;

use crate::protocol::{self, Name};
use crate::trees::Trees;

/// The parts of kcl on this host.
pub(crate) struct Host {
    /// The names of machines and their directories.
    pub layout: Layout,
    /// The directories that machines are made of.
    pub trees: Trees,
    /// The marks of a machine on the host's network.
    pub footprint: &'static Footprint,
}

impl Host {
    /// Returns the parts at their usual places.
    pub(crate) fn new(footprint: &'static Footprint) -> Self {
        let home = Path::new(protocol::HOME);
        Host { layout: Layout::new(home, Path::new(protocol::RUN)), trees: Trees::new(home), footprint }
    }

    /// Returns the names of a machine that exists.
    pub(crate) fn machine(&self, name: &Name) -> Result<MachineNames> {
        let names = self.names(name)?;
        if names.dir.is_dir() {
            return Ok(names);
        }
        let message = format!("there is no machine {} in cluster {}", name.machine, name.cluster);
        Err(Error::new(ErrorKind::NotFound, message))
    }

    /// Returns the names of a machine, whether it exists or not.
    pub(crate) fn names(&self, name: &Name) -> Result<MachineNames> {
        self.layout.machine(&name.cluster, &name.machine)
    }
}
