//! A handle to a machine, whichever hypervisor runs it.

use std::fs;
use std::io::ErrorKind as Io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcl_driver_api::{Error, ErrorKind, Exec, ExecOutput, File, Machine, MachineInfo, MachineSpec, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::task::{blocking, run_exclusively};

use crate::create::read_spec;
use crate::hypervisor::{self, Hypervisor};
use crate::layout::MachineNames;
use crate::{channel, spool, stopped};

/// A machine of a hypervisor.
pub struct VirtualMachine<H> {
    hypervisor: Arc<H>,
    names: MachineNames,
}

impl<H: Hypervisor> VirtualMachine<H> {
    /// Returns a handle to a machine that exists, whole or broken.
    ///
    /// # Errors
    /// `NotFound` if nothing of it exists.
    pub async fn open(hypervisor: Arc<H>, names: MachineNames) -> Result<Self> {
        if hypervisor.info(&names).await?.is_some() {
            return Ok(VirtualMachine { hypervisor, names });
        }
        let message = format!("there is no machine {} in cluster {}", names.name, names.cluster.name);
        Err(Error::new(ErrorKind::NotFound, message))
    }

    async fn spec(&self) -> Result<MachineSpec> {
        let names = self.names.clone();
        blocking(move || read_spec(&names)).await
    }
}

#[async_trait]
impl<H: Hypervisor> Machine for VirtualMachine<H> {
    fn name(&self) -> &str {
        &self.names.name
    }

    async fn info(&self) -> Result<MachineInfo> {
        let deleted = || Error::new(ErrorKind::NotFound, format!("machine {} was deleted", self.names.name));
        self.hypervisor.info(&self.names).await?.ok_or_else(deleted)
    }

    async fn power_on(&self) -> Result<()> {
        let (hypervisor, names, spec) = (self.hypervisor.clone(), self.names.clone(), self.spec().await?);
        let on = async move { hypervisor::on(&*hypervisor, &names, &spec).await };
        run_exclusively(self.names.dir.display(), on).await
    }

    async fn power_off(&self, grace: Duration) -> Result<()> {
        let (hypervisor, names) = (self.hypervisor.clone(), self.names.clone());
        let off = async move { hypervisor::off(&*hypervisor, &names, grace).await };
        run_exclusively(self.names.dir.display(), off).await
    }

    async fn exec(&self, request: Exec) -> Result<ExecOutput> {
        if !self.hypervisor.runs(&self.names).await? {
            return Err(Error::new(ErrorKind::State, format!("machine {} is not running", self.names.name)));
        }
        channel::exec(&self.names, request).await
    }

    async fn put(&self, files: &[File]) -> Result<()> {
        self.spec().await?;
        let (hypervisor, names, files) = (self.hypervisor.clone(), self.names.clone(), files.to_vec());
        let put = async move {
            if !hypervisor.runs(&names).await? {
                return blocking(move || spool::put(&names, &files)).await;
            }
            for file in &files {
                channel::put(&names, file).await?;
            }
            // Older files, of a boot whose kcl was killed.
            blocking(move || spool::forget(&names, Some(&files))).await
        };
        run_exclusively(self.names.dir.display(), put).await
    }

    async fn get(&self, path: &Path) -> Result<Vec<u8>> {
        let (spec, names, path) = (self.spec().await?, self.names.clone(), path.to_owned());
        if self.hypervisor.runs(&names).await? {
            return channel::get(&names, &path).await;
        }
        blocking(move || stopped::get(&names, &spec, &path)).await
    }

    async fn console(&self) -> Result<Vec<u8>> {
        let names = self.names.clone();
        blocking(move || read_console(&names)).await
    }
}

/// Reads the console output of the first process since the machine was last powered on.
fn read_console(names: &MachineNames) -> Result<Vec<u8>> {
    let path = names.console();
    match fs::read(&path) {
        // The machine was never powered on.
        Err(error) if error.kind() == Io::NotFound => Ok(Vec::new()),
        result => result.with_context(|| format!("read {}", path.display())),
    }
}
