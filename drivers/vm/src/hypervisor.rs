//! What differs between those that run guests, and what does not: how a machine is powered on and off.

use std::fs;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kcl_driver_api::{Error, ErrorKind, MachineInfo, MachineSpec, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::storage;
use kcl_driver_local::task::blocking;

use crate::layout::MachineNames;
use crate::{channel, spool};

/// How long a guest may take to its first process, on a busy host and emulated: it takes a few seconds.
const BOOT_LIMIT: Duration = Duration::from_secs(180);

/// How much of a log is shown where the machine did not come up, in bytes.
const TAIL: usize = 1500;

/// Runs guests. A machine's files are there when it is asked for one.
#[async_trait]
pub trait Hypervisor: Send + Sync + 'static {
    /// What is known of a machine, whole or broken; none where there is nothing of it.
    async fn info(&self, names: &MachineNames) -> Result<Option<MachineInfo>>;

    /// Whether the machine runs, whatever its guest does.
    async fn runs(&self, names: &MachineNames) -> Result<bool>;

    /// Starts the machine as `spec` says, or finishes what another kcl has begun. One that runs is left alone.
    async fn start(&self, names: &MachineNames, spec: &MachineSpec) -> Result<()>;

    /// The machine's first process runs: from now on it is to come back by itself after a restart of the host, where
    /// that can be had.
    async fn stays(&self, names: &MachineNames, spec: &MachineSpec) -> Result<()>;

    /// The machine is about to be asked to end, and is not to come back by itself.
    async fn leaves(&self, names: &MachineNames) -> Result<()>;

    /// Waits for the machine's end; false if it did not end in time.
    async fn ended(&self, names: &MachineNames, limit: Duration) -> Result<bool>;

    /// Ends the machine at once, whatever there is of it. One that does not run is left alone.
    async fn kill(&self, names: &MachineNames) -> Result<()>;

    /// Removes everything that the hypervisor keeps of a machine that does not run.
    async fn forget(&self, _: &MachineNames) -> Result<()> {
        Ok(())
    }
}

/// Starts the machine and returns when its first process runs.
pub(crate) async fn on(hypervisor: &dyn Hypervisor, names: &MachineNames, spec: &MachineSpec) -> Result<()> {
    let boot = async {
        hypervisor.start(names, spec).await?;
        booted(names).await
    };
    // Also of one that runs: who started it may be gone before its first process came.
    if let Err(error) = boot.await {
        let error = with_logs(names, error);
        clear(hypervisor, names).await.unwrap_or_else(|error| tracing::warn!("after a failed power-on: {error}"));
        return Err(error);
    }
    let of_machine = names.clone();
    blocking(move || spool::forget(&of_machine, None)).await?;
    hypervisor.stays(names, spec).await
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
pub(crate) async fn off(hypervisor: &dyn Hypervisor, names: &MachineNames, grace: Duration) -> Result<()> {
    let asked = !grace.is_zero() && hypervisor.runs(names).await?;
    if asked {
        let mark = names.stopping();
        // First: who comes after a kcl that is killed here must not take the machine for one that stays.
        blocking(move || fs::write(&mark, "").with_context(|| format!("write {}", mark.display()))).await?;
    }
    hypervisor.leaves(names).await?;
    if asked {
        let ask = async {
            if let Err(error) = channel::end(names).await {
                tracing::debug!("{} cannot be asked to end: {error}", names.name);
            }
        };
        // A guest that hangs does not answer.
        let _ = tokio::time::timeout(grace, ask).await;
        hypervisor.ended(names, grace).await?;
    }
    clear(hypervisor, names).await
}

/// Ends what runs of the machine, at once, and removes what only a running machine has. Nothing needs to be whole.
///
/// # Errors
/// `Engine` where it does not end.
pub(crate) async fn clear(hypervisor: &dyn Hypervisor, names: &MachineNames) -> Result<()> {
    hypervisor.kill(names).await?;
    let names = names.clone();
    blocking(move || storage::remove_tree(&names.run)).await
}
