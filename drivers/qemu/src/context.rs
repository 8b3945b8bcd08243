//! Runs machines as processes of QEMU.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use kcl_driver_api::{Error, MachineInfo, MachineSpec, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::process::tie;
use kcl_driver_local::storage;
use kcl_driver_local::task::blocking;
use kcl_driver_vm::accelerator::{self, Accelerator, QEMU};
use kcl_driver_vm::images::Images;
use kcl_driver_vm::list::info;
use kcl_driver_vm::network::{self, Segment};
use kcl_driver_vm::preflight::Host;
use kcl_driver_vm::{Guest, GuestFiles, Hypervisor, Layout, MachineNames};

use crate::process::Process;
use crate::{command, qmp, tap};

/// The time that QEMU may take to close its disks after a request to quit.
const QUIT_LIMIT: Duration = Duration::from_secs(5);

/// The time that killed processes may take to end.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// The settings that every part of the driver uses.
#[derive(Clone)]
pub(crate) struct Context {
    pub layout: Layout,
    pub run: PathBuf,
    pub images: Images,
    pub directories: [PathBuf; 2],
    pub files: Option<GuestFiles>,
}

impl Context {
    /// Returns the part of the host that preflight examines.
    pub(crate) fn host(&self) -> Host<'_> {
        Host { run: &self.run, files: self.files.as_ref(), directories: &self.directories }
    }

    fn spawn(&self, names: &MachineNames, spec: &MachineSpec, segment: &Segment) -> Result<()> {
        let files = GuestFiles::given(self.files.as_ref())?;
        let interfaces = segment.interfaces(spec)?;
        let accelerator = accelerator::find(&self.run, files)?;
        if accelerator == Accelerator::Emulation {
            tracing::info!(machine = names.name, "no KVM: the machine is emulated");
        }
        storage::remove_tree(&names.run)?;
        storage::make_private_directory(&names.run)?;
        let guest = Guest::prepare(names, spec, files, &self.images, interfaces)?;
        let mut command = Command::new(QEMU);
        command.args(command::machine(names, spec, &guest, segment, accelerator)?);
        // The parent ends when the machine's process is set up, or says why it is not. If it is killed before, with
        // kcl, the machine's process finds no parent to report to, and ends.
        tie(&mut command);
        let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {QEMU}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::engine(format!("QEMU could not start machine {} ({}): {said}", names.name, output.status)))
    }
}

#[async_trait]
impl Hypervisor for Context {
    async fn info(&self, names: &MachineNames) -> Result<Option<MachineInfo>> {
        let names = names.clone();
        blocking(move || Ok(info(&names, Process::of(&names).is_some()))).await
    }

    async fn runs(&self, names: &MachineNames) -> Result<bool> {
        Ok(Process::of(names).is_some())
    }

    async fn start(&self, names: &MachineNames, spec: &MachineSpec) -> Result<()> {
        let (context, of_machine, spec) = (self.clone(), names.clone(), spec.clone());
        let segment = blocking(move || {
            let segment = network::segment(&of_machine.cluster)?;
            if Process::of(&of_machine).is_none() {
                context.spawn(&of_machine, &spec, &segment)?;
            }
            Ok(segment)
        })
        .await?;
        tap::plug_in(&segment, names).await
    }

    /// Does nothing: only kcl starts the machine after a restart of the host.
    async fn stays(&self, _: &MachineNames, _: &MachineSpec) -> Result<()> {
        Ok(())
    }

    async fn leaves(&self, _: &MachineNames) -> Result<()> {
        Ok(())
    }

    async fn ended(&self, names: &MachineNames, limit: Duration) -> Result<bool> {
        let Some(process) = Process::of(names) else { return Ok(true) };
        blocking(move || process.wait(limit)).await
    }

    async fn kill(&self, names: &MachineNames) -> Result<()> {
        let Some(process) = Process::of(names) else { return Ok(()) };
        let asked = qmp::quit(names).await;
        blocking(move || {
            if asked && process.wait(QUIT_LIMIT)? {
                return Ok(());
            }
            process.kill(KILL_LIMIT)
        })
        .await
    }
}
