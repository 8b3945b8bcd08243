//! Powering a machine on and off.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kcl_driver_api::{Error, ErrorKind, MachineSpec, Result};
use kcl_driver_vm::{Doing, Guest, GuestFiles, MachineNames, blocking, channel, document, spool};

use crate::Context;
use crate::accelerator::{self, Accelerator};
use crate::command::{self, QEMU};
use crate::network::{self, Segment};
use crate::process::Process;
use crate::qmp;

/// How long a guest may take to its first process, on a busy host and emulated: it takes a few seconds.
const BOOT_LIMIT: Duration = Duration::from_secs(180);

/// How long QEMU may take to close its disks when it is told to end.
const QUIT_LIMIT: Duration = Duration::from_secs(5);

/// How long what was killed may take to end.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// How much of a log is shown where the machine did not come up, in bytes.
const TAIL: usize = 1500;

/// Starts the machine and returns when its first process runs.
pub(crate) async fn on(context: &Arc<Context>, names: &MachineNames, spec: MachineSpec) -> Result<()> {
    let (context, of_machine) = (context.clone(), names.clone());
    let segment = blocking(move || {
        let segment = network::segment(&of_machine.cluster)?;
        if Process::of(&of_machine).is_none() {
            start(&context, &of_machine, &spec, &segment)?;
        }
        Ok(segment)
    })
    .await?;
    let booted = async {
        segment.plug_in(names).await?;
        booted(names).await
    };
    // Also of one that runs: who started it may be gone before its first process came.
    if let Err(error) = booted.await {
        let error = with_logs(names, error);
        clear(names).await.unwrap_or_else(|error| tracing::warn!("after a failed power-on: {error}"));
        return Err(error);
    }
    let names = names.clone();
    blocking(move || spool::forget(&names, None)).await
}

fn start(context: &Context, names: &MachineNames, spec: &MachineSpec, segment: &Segment) -> Result<()> {
    let files = files(context)?;
    let interfaces = segment.interfaces(spec)?;
    let accelerator = accelerator::find(&context.run, files)?;
    if accelerator == Accelerator::Emulation {
        tracing::info!(machine = names.name, "no KVM: the machine is emulated");
    }
    document::remove_tree(&names.run)?;
    document::make_private_directory(&names.run)?;
    let guest = Guest::prepare(names, spec, files, &context.images, interfaces)?;
    let mut command = Command::new(QEMU);
    command.args(command::machine(names, spec, &guest, segment, accelerator)?);
    // The parent ends when the machine's process is all set up, or says why it is not.
    let output = command.stdin(Stdio::null()).output().doing(|| format!("run {QEMU}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::engine(format!("QEMU could not start machine {} ({}): {said}", names.name, output.status)))
}

/// What guests are made from.
pub(crate) fn files(context: &Context) -> Result<&GuestFiles> {
    context.files.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::Host, "the qemu driver was given no kernel").hint("get it with: kcl artifacts fetch --vm")
    })
}

/// Waits for the first process, or for the machine's early end.
async fn booted(names: &MachineNames) -> Result<()> {
    let begun = Instant::now();
    match tokio::time::timeout(BOOT_LIMIT, channel::wait(names)).await {
        Ok(Ok(guest_ms)) => {
            let machine = &names.name;
            // From the start of the guest's kernel to its first process, and all that kcl waited for.
            tracing::info!(machine, guest_ms, total_ms = begun.elapsed().as_millis() as u64, "the guest has booted");
            Ok(())
        }
        Ok(Err(error)) if error.kind == ErrorKind::State => {
            Err(Error::engine(format!("machine {} ended before its first process ran", names.name)))
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let message = format!("machine {} did not boot within {} s", names.name, BOOT_LIMIT.as_secs());
            Err(Error::engine(message))
        }
    }
}

fn with_logs(names: &MachineNames, mut error: Error) -> Error {
    for path in [names.kernel_log(), names.console()] {
        let said = fs::read(&path).unwrap_or_default();
        let tail = String::from_utf8_lossy(&said[said.len().saturating_sub(TAIL)..]).trim().to_owned();
        if !tail.is_empty() {
            error.message.push_str(&format!("\n{tail}"));
        }
    }
    error
}

/// Asks the machine to end, waits, and ends what is left.
pub(crate) async fn off(names: &MachineNames, grace: Duration) -> Result<()> {
    if let Some(process) = Process::of(names)
        && !grace.is_zero()
    {
        let mark = names.stopping();
        // First: who comes after a kcl that is killed here must not take the machine for one that stays.
        blocking(move || fs::write(&mark, "").doing(|| format!("write {}", mark.display()))).await?;
        let ask = async {
            if let Err(error) = channel::end(names).await {
                tracing::debug!("{} cannot be asked to end: {error}", names.name);
            }
        };
        // A guest that hangs does not answer.
        let _ = tokio::time::timeout(grace, ask).await;
        blocking(move || process.wait(grace)).await?;
    }
    clear(names).await
}

/// Ends what runs of the machine, at once, and removes what only a running machine has. Nothing needs to be whole.
pub(crate) async fn clear(names: &MachineNames) -> Result<()> {
    if let Some(process) = Process::of(names) {
        let asked = qmp::quit(names).await;
        blocking(move || {
            if asked && process.wait(QUIT_LIMIT)? {
                return Ok(());
            }
            process.kill(KILL_LIMIT)
        })
        .await?;
    }
    let names = names.clone();
    blocking(move || document::remove_tree(&names.run)).await
}
