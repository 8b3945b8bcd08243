//! A handle to a machine on its host.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kcl_driver_api::{Error, Exec, ExecOutput, File, Machine, MachineInfo, Result};
use kcl_ssh_host::protocol::{self, Done, FileText, Name, Request};

use crate::context::Context;
use crate::exec;
use crate::host::{Absent, Host};
use crate::names;

/// A machine on a host.
pub(crate) struct SshMachine {
    pub context: Arc<Context>,
    pub host: Arc<Host>,
    pub name: Name,
}

/// Converts the facts that a host knows about a machine.
pub(crate) fn info(machine: protocol::Machine) -> MachineInfo {
    let protocol::Machine { cluster, name, power, address, labels } = machine;
    let cluster = names::here(&cluster).to_owned();
    MachineInfo { cluster, name, power, address, labels }
}

impl SshMachine {
    async fn ask<T: serde::de::DeserializeOwned>(&self, request: &Request) -> Result<T> {
        self.host.ask(&self.context.with, request, Absent::Install).await
    }

    async fn bytes(&self, request: &Request) -> Result<Vec<u8>> {
        let text: String = self.ask(request).await?;
        STANDARD.decode(text).map_err(|error| Error::engine(format!("no base64: {error}")))
    }
}

#[async_trait]
impl Machine for SshMachine {
    fn name(&self) -> &str {
        &self.name.machine
    }

    async fn info(&self) -> Result<MachineInfo> {
        self.ask(&Request::Info(self.name.clone())).await.map(info)
    }

    async fn power_on(&self) -> Result<()> {
        self.ask::<Done>(&Request::On(self.name.clone())).await.map(|_| ())
    }

    async fn power_off(&self, grace: Duration) -> Result<()> {
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.ask::<Done>(&Request::Off { name: self.name.clone(), grace }).await.map(|_| ())
    }

    async fn exec(&self, request: Exec) -> Result<ExecOutput> {
        exec::exec(&self.host, &self.context.with, &self.name, request).await
    }

    async fn put(&self, files: &[File]) -> Result<()> {
        let text = |file: &File| FileText {
            path: file.path.clone(),
            mode: file.mode,
            content: STANDARD.encode(&file.content),
        };
        let request = Request::Put { name: self.name.clone(), files: files.iter().map(text).collect() };
        self.ask::<Done>(&request).await.map(|_| ())
    }

    async fn get(&self, path: &Path) -> Result<Vec<u8>> {
        self.bytes(&Request::Get { name: self.name.clone(), path: path.to_owned() }).await
    }

    async fn console(&self) -> Result<Vec<u8>> {
        self.bytes(&Request::Console(self.name.clone())).await
    }
}
