//! Machines of this host: made, powered on and off, kept running, deleted.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kcl_driver_api::{Error, ErrorKind, MachineSpec, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::storage;
use kcl_driver_oci::config::Attachment;
use kcl_driver_oci::layout::MachineNames;
use kcl_driver_oci::process::Process;
use kcl_driver_oci::{access, cgroup, create, delete, run};
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::protocol::{self, Name};
use crate::{boot, network};

/// The time that a node may take to end when its host is shut down, as for a stop by kcl.
const GRACE: Duration = Duration::from_secs(40);
/// The time after which a machine that ends is started again at once.
const STEADY: Duration = Duration::from_secs(10);

/// The programs and files to run a machine with.
#[derive(Serialize, Deserialize)]
pub(crate) struct Engine {
    /// runc, in one of the trees.
    pub runc: PathBuf,
    /// The root file system, for its tools.
    pub rootfs: PathBuf,
}

/// Locks this host: several kcls may have nodes here, and a command continues if its kcl is gone.
pub(crate) fn lock() -> Result<File> {
    storage::make_private_directory(Path::new(protocol::RUN))?;
    let path = Path::new(protocol::RUN).join("host.lock");
    let what = || format!("lock {}", path.display());
    let file = File::create(&path).with_context(what)?;
    file.lock().with_context(what)?;
    Ok(file)
}

/// Reads the programs of a machine, if it was made whole.
pub(crate) fn engine(names: &MachineNames) -> Result<Option<Engine>> {
    storage::read(&names.dir.join("engine.json"))
}

/// The mark of a machine that is to run.
fn wanted(names: &MachineNames) -> PathBuf {
    names.dir.join("wanted")
}

pub(crate) fn create(host: &Host, spec: &MachineSpec, runc: &Path) -> Result<()> {
    let _lock = lock()?;
    spec.check()?;
    let names = host.layout.machine(&spec.cluster, &spec.name)?;
    if create::is_half_made(&names) {
        remove(host, &names)?;
    }
    create::create(&names, spec)?;
    let engine = Engine { runc: runc.to_owned(), rootfs: spec.rootfs.clone() };
    storage::write(&names.dir.join("engine.json"), &engine)
}

pub(crate) fn on(host: &Host, name: &Name) -> Result<()> {
    let names = host.machine(name)?;
    {
        let _lock = lock()?;
        start(host, &names)?;
        fs::write(wanted(&names), "").with_context(|| format!("write {}", wanted(&names).display()))?;
    }
    boot::keep(&names)
}

/// Starts a machine that does not run.
fn start(host: &Host, names: &MachineNames) -> Result<()> {
    if Process::init(names).is_some() {
        return Ok(());
    }
    let spec = access::spec(names)?;
    let engine = engine(names)?.ok_or_else(|| {
        Error::new(ErrorKind::State, format!("machine {} was not made whole", names.name)).hint("delete it")
    })?;
    // Left by a crash, a kill or an unexpected end of the last boot.
    clear(host, names)?;
    let runc = run::program(Some(&engine.runc))?;
    network::record(names, &engine.rootfs, host.footprint)?;
    run::run(&runc, names, &spec, Attachment::Host).inspect_err(|_| {
        // The first error is the one to report.
        let _ = clear(host, names);
    })
}

pub(crate) fn off(host: &Host, name: &Name, grace: Duration) -> Result<()> {
    let names = host.machine(name)?;
    {
        let _lock = lock()?;
        end(host, &names, grace)?;
    }
    boot::forget(&names)?;
    gone(&names)
}

fn end(host: &Host, names: &MachineNames, grace: Duration) -> Result<()> {
    storage::remove_file(&wanted(names))?;
    run::ask_to_end(names, grace)?;
    clear(host, names)
}

/// Waits for the keeper, which ends with the machine.
fn gone(names: &MachineNames) -> Result<()> {
    if names.dir.is_dir() {
        let keeper = keeper(names)?;
        keeper.lock().with_context(|| format!("wait for who keeps machine {} running", names.name))?;
    }
    Ok(())
}

/// Opens the file that the keeper of the machine locks.
fn keeper(names: &MachineNames) -> Result<File> {
    let path = names.dir.join("keeper.lock");
    File::create(&path).with_context(|| format!("open {}", path.display()))
}

/// Kills the processes of the machine, and undoes its changes of the host.
fn clear(host: &Host, names: &MachineNames) -> Result<()> {
    let runc = engine(names)?.map(|engine| engine.runc);
    run::clear(runc.as_deref(), names)?;
    cgroup::remove_cluster(&names.cluster)?;
    network::restore(names, host.footprint)
}

pub(crate) fn delete(host: &Host, name: &Name) -> Result<()> {
    let names = host.names(name)?;
    {
        let _lock = lock()?;
        if !names.dir.exists() {
            return Ok(());
        }
        delete::begin(&names)?;
        end(host, &names, Duration::ZERO)?;
    }
    boot::forget(&names)?;
    gone(&names)?;
    let _lock = lock()?;
    remove(host, &names)
}

fn remove(host: &Host, names: &MachineNames) -> Result<()> {
    delete::begin(names)?;
    clear(host, names)?;
    delete::end(names)?;
    storage::remove_if_empty(&names.cluster.nodes())?;
    remove_run(names)
}

/// Removes runc's directories on the tmpfs.
fn remove_run(names: &MachineNames) -> Result<()> {
    storage::remove_if_empty(&names.cluster.runc_root())?;
    storage::remove_if_empty(&names.cluster.run)
}

/// Removes a cluster that has no machines here any more; with the last cluster, everything of kcl.
pub(crate) fn leave(host: &Host, cluster: &str) -> Result<()> {
    let _lock = lock()?;
    let names = host.layout.cluster(cluster)?;
    if !kcl_driver_local::storage::directories(&names.nodes())?.is_empty() {
        return Ok(());
    }
    host.trees.unclaim(cluster)?;
    storage::remove_tree(&names.dir)?;
    storage::remove_if_empty(&host.layout.clusters())?;
    if !host.layout.clusters().exists() {
        storage::remove_tree(&host.layout.home.join("trees"))?;
        storage::remove_tree(&host.layout.home.join("bin"))?;
        // The directory may have files of others.
        storage::remove_if_empty(&host.layout.home)?;
        storage::remove_file(&host.layout.run.join("host.lock"))?;
        storage::remove_if_empty(&host.layout.run)?;
    }
    Ok(())
}

/// Keeps the machine running as long as it is to run: starts it after a boot of the host, and again if it ends
/// unexpectedly. If this process is asked to end, as at a shutdown, the machine ends too.
pub(crate) fn keep(host: &Host, name: &Name) -> Result<()> {
    let names = host.machine(name)?;
    let keeper = keeper(&names)?;
    match keeper.try_lock() {
        Ok(()) => {}
        // Another keeper runs.
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    let requests = boot::requests_to_end()?;
    let mut delay = Duration::ZERO;
    loop {
        let process = {
            let _lock = lock()?;
            if !wanted(&names).exists() {
                return Ok(());
            }
            start(host, &names)?;
            Process::init(&names)
        };
        let begun = Instant::now();
        if let Some(process) = process
            && boot::ended_or_asked_to(&process, &requests)? == boot::Which::Asked
        {
            // The mark stays: the next boot starts the machine.
            let _lock = lock()?;
            run::ask_to_end(&names, GRACE)?;
            return clear(host, &names);
        }
        delay = if begun.elapsed() >= STEADY {
            Duration::ZERO
        } else {
            (delay * 2).clamp(Duration::from_millis(100), STEADY)
        };
        std::thread::sleep(delay);
    }
}
