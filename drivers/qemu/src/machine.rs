//! A handle to a machine, and what machines there are.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcl_driver_api::{Error, ErrorKind, Exec, ExecOutput, File, Machine, MachineInfo, MachineSpec, Power, Result};
use kcl_driver_vm::{
    Layout, MachineNames, blocking, channel, directories, document, get_stopped, in_turn, read_spec, spool,
};

use crate::Context;
use crate::power;
use crate::process::Process;

/// A machine whose directory exists.
pub(crate) struct QemuMachine {
    context: Arc<Context>,
    names: MachineNames,
}

impl QemuMachine {
    /// A handle to a machine that exists, whole or broken.
    pub(crate) fn open(context: Arc<Context>, cluster: &str, name: &str) -> Result<Self> {
        let names = context.layout.machine(cluster, name)?;
        if names.dir.is_dir() {
            return Ok(QemuMachine { context, names });
        }
        Err(Error::new(ErrorKind::NotFound, format!("there is no machine {name} in cluster {cluster}")))
    }

    async fn spec(&self) -> Result<MachineSpec> {
        let names = self.names.clone();
        blocking(move || read_spec(&names)).await
    }
}

/// All machines of a cluster or of all clusters, in the order of their names.
pub(crate) fn list(layout: &Layout, cluster: Option<&str>) -> Result<Vec<MachineInfo>> {
    let clusters = match cluster {
        Some(cluster) => vec![cluster.to_owned()],
        None => directories(&layout.clusters())?,
    };
    let mut machines = Vec::new();
    for cluster in clusters {
        // What is no name of a cluster is no directory of ours.
        let Ok(names) = layout.cluster(&cluster) else { continue };
        for name in directories(&names.machines())? {
            let Ok(names) = layout.machine(&cluster, &name) else { continue };
            machines.push(info(&names));
        }
    }
    Ok(machines)
}

/// What is known of a machine whose directory exists.
fn info(names: &MachineNames) -> MachineInfo {
    // A specification that cannot be read is as good as none: the machine can only be deleted.
    let spec: Option<MachineSpec> = document::read(&names.spec_file()).unwrap_or_default();
    let power = match (&spec, Process::of(names)) {
        (None, _) => Power::Broken,
        (Some(_), Some(_)) if names.stopping().exists() => Power::Stopping,
        (Some(_), Some(_)) => Power::Running,
        (Some(_), None) => Power::Stopped,
    };
    MachineInfo {
        cluster: names.cluster.name.clone(),
        name: names.name.clone(),
        power,
        address: spec.as_ref().map(|spec| spec.address),
        labels: spec.map(|spec| spec.labels).unwrap_or_default(),
    }
}

#[async_trait]
impl Machine for QemuMachine {
    fn name(&self) -> &str {
        &self.names.name
    }

    async fn info(&self) -> Result<MachineInfo> {
        let names = self.names.clone();
        blocking(move || {
            if names.dir.is_dir() {
                return Ok(info(&names));
            }
            Err(Error::new(ErrorKind::NotFound, format!("machine {} was deleted", names.name)))
        })
        .await
    }

    async fn power_on(&self) -> Result<()> {
        let (context, names, spec) = (self.context.clone(), self.names.clone(), self.spec().await?);
        in_turn(self.names.dir.display(), async move { power::on(&context, &names, spec).await }).await
    }

    async fn power_off(&self, grace: Duration) -> Result<()> {
        let names = self.names.clone();
        in_turn(self.names.dir.display(), async move { power::off(&names, grace).await }).await
    }

    async fn exec(&self, request: Exec) -> Result<ExecOutput> {
        if Process::of(&self.names).is_none() {
            return Err(Error::new(ErrorKind::State, format!("machine {} does not run", self.names.name)));
        }
        channel::exec(&self.names, request).await
    }

    async fn put(&self, files: &[File]) -> Result<()> {
        self.spec().await?;
        let (names, files) = (self.names.clone(), files.to_vec());
        let put = async move {
            if Process::of(&names).is_none() {
                return blocking(move || spool::put(&names, &files)).await;
            }
            for file in &files {
                channel::put(&names, file).await?;
            }
            // Older ones, of a boot whose kcl was killed.
            blocking(move || spool::forget(&names, Some(&files))).await
        };
        in_turn(self.names.dir.display(), put).await
    }

    async fn get(&self, path: &Path) -> Result<Vec<u8>> {
        let (spec, names, path) = (self.spec().await?, self.names.clone(), path.to_owned());
        if Process::of(&names).is_some() {
            return channel::get(&names, &path).await;
        }
        blocking(move || get_stopped(&names, &spec, &path)).await
    }

    async fn console(&self) -> Result<Vec<u8>> {
        let names = self.names.clone();
        blocking(move || kcl_driver_vm::console(&names)).await
    }
}
