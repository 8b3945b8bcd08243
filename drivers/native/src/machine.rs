//! A handle to a machine: nothing but its names, so it is as good after a restart of kcl as before.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcl_driver_api::{Error, ErrorKind, Exec, ExecOutput, File, Machine, MachineInfo, MachineSpec, Result};

use crate::Context;
use crate::disk;
use crate::doing::blocking;
use crate::exec;
use crate::files;
use crate::layout::MachineNames;
use crate::list;
use crate::mounts;
use crate::power;
use crate::process::Process;
use crate::turn::in_turn;

/// A machine whose directory exists.
pub(crate) struct NativeMachine {
    context: Arc<Context>,
    names: MachineNames,
}

impl NativeMachine {
    /// A handle to a machine that exists, whole or broken.
    pub(crate) async fn open(context: Arc<Context>, cluster: &str, name: &str) -> Result<Self> {
        let names = context.layout.machine(cluster, name)?;
        if names.dir.is_dir() {
            return Ok(NativeMachine { context, names });
        }
        Err(Error::new(ErrorKind::NotFound, format!("there is no machine {name} in cluster {cluster}")))
    }

    async fn spec(&self) -> Result<MachineSpec> {
        let names = self.names.clone();
        blocking(move || spec(&names)).await
    }
}

/// What the machine is to be; read each time, as another kcl may have changed it.
fn spec(names: &MachineNames) -> Result<MachineSpec> {
    let broken = || {
        let message = format!("the creation or deletion of machine {} was cut off", names.name);
        Error::new(ErrorKind::State, message).hint("delete it")
    };
    disk::read(&names.spec_file())?.ok_or_else(broken)
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
        in_turn(&self.names, async move { power::on(&context, &names, spec).await }).await
    }

    async fn power_off(&self, grace: Duration) -> Result<()> {
        let (context, names) = (self.context.clone(), self.names.clone());
        in_turn(&self.names, async move { power::off(&context, &names, grace).await }).await
    }

    async fn exec(&self, request: Exec) -> Result<ExecOutput> {
        exec::exec(&self.context, &self.names, request).await
    }

    async fn put(&self, files: &[File]) -> Result<()> {
        let (names, files) = (self.names.clone(), files.to_vec());
        let put = move || with_root(&names, |root| files.iter().try_for_each(|file| files::put(root, file)));
        in_turn(&self.names, blocking(put)).await
    }

    async fn get(&self, path: &Path) -> Result<Vec<u8>> {
        let (names, path) = (self.names.clone(), path.to_owned());
        blocking(move || with_root(&names, |root| files::get(root, &path))).await
    }

    async fn console(&self) -> Result<Vec<u8>> {
        let path = self.names.console();
        blocking(move || match std::fs::read(&path) {
            // Never powered on.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            result => result.map_err(Into::into),
        })
        .await
    }
}

/// Runs `work` with the root of the machine: its own view while it runs, else one made for the purpose.
fn with_root<T: Send>(names: &MachineNames, work: impl FnOnce(&std::os::fd::OwnedFd) -> Result<T> + Send) -> Result<T> {
    let spec = spec(names)?;
    match Process::init(names) {
        Some(init) => {
            let root = files::open_root(Path::new(&format!("/proc/{}/root", init.pid)))?;
            // The number may have been another's by then.
            if !init.wait(Duration::ZERO)? { work(&root) } else { mounts::with_stopped_root(names, &spec, work) }
        }
        None => mounts::with_stopped_root(names, &spec, work),
    }
}
