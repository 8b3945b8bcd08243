//! Accesses a machine, running or not: its specification, its files, its console.

use std::path::Path;
use std::time::Duration;

use kcl_driver_api::{Error, ErrorKind, File, MachineSpec, Result};
use kcl_driver_local::storage;

use crate::files;
use crate::layout::MachineNames;
use crate::mounts;
use crate::process::Process;

/// Reads the machine's specification; it is read each time, as another kcl may have changed it.
pub fn spec(names: &MachineNames) -> Result<MachineSpec> {
    let broken = || {
        let message = format!("the creation or deletion of machine {} was interrupted", names.name);
        Error::new(ErrorKind::State, message).hint("delete it")
    };
    storage::read(&names.spec_file())?.ok_or_else(broken)
}

/// Writes files into the machine, each whole or not at all.
pub fn put(names: &MachineNames, files: &[File]) -> Result<()> {
    with_root(names, |root| files.iter().try_for_each(|file| files::put(root, file)))
}

/// Reads a file of the machine.
pub fn get(names: &MachineNames, path: &Path) -> Result<Vec<u8>> {
    with_root(names, |root| files::get(root, path))
}

/// Reads what the first process wrote on the console since the machine was last powered on.
pub fn console(names: &MachineNames) -> Result<Vec<u8>> {
    match std::fs::read(names.console()) {
        // The machine was never powered on.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(Into::into),
    }
}

/// Runs `work` with the root of the machine: its own view while it runs, else one made for the purpose.
fn with_root<T: Send>(names: &MachineNames, work: impl FnOnce(&std::os::fd::OwnedFd) -> Result<T> + Send) -> Result<T> {
    let spec = spec(names)?;
    match Process::init(names) {
        Some(init) => {
            let root = files::open_root(Path::new(&format!("/proc/{}/root", init.pid)))?;
            // The process number may belong to another process by then.
            if !init.wait(Duration::ZERO)? { work(&root) } else { mounts::with_stopped_root(names, &spec, work) }
        }
        None => mounts::with_stopped_root(names, &spec, work),
    }
}
