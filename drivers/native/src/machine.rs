//! A handle to a machine: nothing but its names, so a restart of kcl changes nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcl_driver_api::{Error, ErrorKind, Exec, ExecOutput, File, HostMount, Machine, MachineInfo, MachineSpec, Result};
use kcl_driver_local::task::{blocking, run_exclusively};
use kcl_driver_oci::access;
use kcl_driver_oci::exec;
use kcl_driver_oci::host_mounts;
use kcl_driver_oci::layout::MachineNames;
use kcl_driver_oci::list;

use crate::context::Context;
use crate::power;

/// A machine whose directory exists.
pub(crate) struct NativeMachine {
    context: Arc<Context>,
    names: MachineNames,
}

impl NativeMachine {
    /// Returns a handle to a machine that exists, whole or broken.
    pub(crate) async fn open(context: Arc<Context>, cluster: &str, name: &str) -> Result<Self> {
        let names = context.layout.machine(cluster, name)?;
        if names.dir.is_dir() {
            return Ok(NativeMachine { context, names });
        }
        Err(Error::new(ErrorKind::NotFound, format!("there is no machine {name} in cluster {cluster}")))
    }

    async fn spec(&self) -> Result<MachineSpec> {
        let names = self.names.clone();
        blocking(move || access::spec(&names)).await
    }
}

#[async_trait]
impl Machine for NativeMachine {
    fn name(&self) -> &str {
        &self.names.name
    }

    async fn info(&self) -> Result<MachineInfo> {
        let names = self.names.clone();
        blocking(move || {
            if names.dir.is_dir() {
                return Ok(list::info(&names));
            }
            Err(Error::new(ErrorKind::NotFound, format!("machine {} was deleted", names.name)))
        })
        .await
    }

    async fn power_on(&self) -> Result<()> {
        let (context, names, spec) = (self.context.clone(), self.names.clone(), self.spec().await?);
        run_exclusively(self.names.dir.display(), async move { power::on(&context, &names, spec).await }).await
    }

    async fn power_off(&self, grace: Duration) -> Result<()> {
        let (context, names) = (self.context.clone(), self.names.clone());
        run_exclusively(self.names.dir.display(), async move { power::off(&context, &names, grace).await }).await
    }

    async fn exec(&self, request: Exec) -> Result<ExecOutput> {
        exec::exec(self.context.runc.as_deref(), &self.names, request).await
    }

    async fn put(&self, files: &[File]) -> Result<()> {
        let (names, files) = (self.names.clone(), files.to_vec());
        run_exclusively(self.names.dir.display(), blocking(move || access::put(&names, &files))).await
    }

    async fn get(&self, path: &Path) -> Result<Vec<u8>> {
        let (names, path) = (self.names.clone(), path.to_owned());
        blocking(move || access::get(&names, &path)).await
    }

    async fn set_mounts(&self, mounts: &[HostMount]) -> Result<()> {
        let (names, mounts) = (self.names.clone(), mounts.to_vec());
        run_exclusively(self.names.dir.display(), blocking(move || host_mounts::set(&names, &mounts))).await
    }

    async fn console(&self) -> Result<Vec<u8>> {
        let names = self.names.clone();
        blocking(move || access::console(&names)).await
    }
}
