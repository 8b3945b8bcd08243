//! The contract with programs that run guests, and power for all of them.

use std::fs;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kcl_driver_api::{Error, ErrorKind, MachineInfo, MachineSpec, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::storage;
use kcl_driver_local::task::blocking;

use crate::layout::MachineNames;
use crate::{channel, spool};

/// The time limit for a guest to reach its first process, on a busy host and emulated: it takes a few seconds.
const BOOT_LIMIT: Duration = Duration::from_secs(180);

/// The bytes of a log that are shown if the machine did not come up.
const TAIL: usize = 1500;

/// Runs guests. A machine's files exist before it is called.
#[async_trait]
pub trait Hypervisor: Send + Sync + 'static {
    /// Returns the facts about a machine, whole or broken; none if nothing of it exists.
    async fn info(&self, names: &MachineNames) -> Result<Option<MachineInfo>>;

    /// Returns true if the machine runs, whatever its guest does.
    async fn runs(&self, names: &MachineNames) -> Result<bool>;

    /// Starts the machine as `spec` says, or completes a start that another kcl began. A running machine is left alone.
    async fn start(&self, names: &MachineNames, spec: &MachineSpec) -> Result<()>;

    /// Notes that the machine's first process runs: from now on it comes back by itself after a restart of the host, if
    /// the hypervisor can do that.
    async fn stays(&self, names: &MachineNames, spec: &MachineSpec) -> Result<()>;

    /// Notes that the machine is about to be asked to end, and does not come back by itself.
    async fn leaves(&self, names: &MachineNames) -> Result<()>;

    /// Waits for the machine's end; false if it did not end in time.
    async fn ended(&self, names: &MachineNames, limit: Duration) -> Result<bool>;

    /// Ends the machine at once, whole or not. A machine that does not run is left alone.
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
    // Also for a running machine: its starter may have been killed before the first process ran.
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
            // The time from the start of the guest's kernel to its first process, and the whole wait of kcl.
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
        let log = fs::read(&path).unwrap_or_default();
        let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(TAIL)..]).trim().to_owned();
        if !tail.is_empty() {
            error.message.push_str(&format!("\n{tail}"));
        }
    }
    error
}

/// Asks the machine to end, waits, and ends the rest.
pub(crate) async fn off(hypervisor: &dyn Hypervisor, names: &MachineNames, grace: Duration) -> Result<()> {
    let is_graceful = !grace.is_zero() && hypervisor.runs(names).await?;
    if is_graceful {
        let mark = names.stopping();
        // First: if kcl is killed here, the next one must not take the machine for one that stays.
        blocking(move || fs::write(&mark, "").with_context(|| format!("write {}", mark.display()))).await?;
    }
    hypervisor.leaves(names).await?;
    if is_graceful {
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

/// Ends the processes of the machine at once, and removes everything that only a running machine has. The machine need
/// not be whole.
///
/// # Errors
/// `Engine` if it does not end.
pub(crate) async fn clear(hypervisor: &dyn Hypervisor, names: &MachineNames) -> Result<()> {
    hypervisor.kill(names).await?;
    let names = names.clone();
    blocking(move || storage::remove_tree(&names.run)).await
}
