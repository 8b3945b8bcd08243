//! Implements the handle to a machine, which consists of its names only, so it stays valid after a restart of kcl.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcl_driver_api::{Error, ErrorKind, Exec, ExecOutput, File, Machine, MachineInfo, Result};
use kcl_driver_local::task::run_exclusively;

use crate::console;
use crate::context::Context;
use crate::exec;
use crate::files;
use crate::list;
use crate::names::MachineNames;
use crate::power;

/// A machine that exists, whole or broken.
pub(crate) struct DockerMachine {
    context: Arc<Context>,
    names: MachineNames,
}

impl DockerMachine {
    /// Returns a handle to a machine that exists, whole or broken.
    pub(crate) async fn open(context: Arc<Context>, cluster: &str, name: &str) -> Result<Self> {
        let names = context.names().await?.machine(cluster, name)?;
        if list::exists(context.engine().await?, &names).await? {
            return Ok(DockerMachine { context, names });
        }
        Err(Error::new(ErrorKind::NotFound, format!("there is no machine {name} in cluster {cluster}")))
    }
}

#[async_trait]
impl Machine for DockerMachine {
    fn name(&self) -> &str {
        &self.names.name
    }

    async fn info(&self) -> Result<MachineInfo> {
        let info = list::info(self.context.engine().await?, &self.names).await?;
        info.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("machine {} was deleted", self.names.name)))
    }

    async fn power_on(&self) -> Result<()> {
        let (context, names) = (self.context.clone(), self.names.clone());
        run_exclusively(self.names.container(), async move { power::on(context.engine().await?, &names).await }).await
    }

    async fn power_off(&self, grace: Duration) -> Result<()> {
        let (context, names) = (self.context.clone(), self.names.clone());
        run_exclusively(self.names.container(), async move { power::off(context.engine().await?, &names, grace).await })
            .await
    }

    async fn exec(&self, request: Exec) -> Result<ExecOutput> {
        exec::exec(self.context.engine().await?, &self.names, request).await
    }

    async fn put(&self, files: &[File]) -> Result<()> {
        let (context, names, files) = (self.context.clone(), self.names.clone(), files.to_vec());
        run_exclusively(
            self.names.container(),
            async move { files::put(context.engine().await?, &names, &files).await },
        )
        .await
    }

    async fn get(&self, path: &Path) -> Result<Vec<u8>> {
        files::get(self.context.engine().await?, &self.names, path).await
    }

    async fn console(&self) -> Result<Vec<u8>> {
        console::read(self.context.engine().await?, &self.names.container()).await
    }
}
