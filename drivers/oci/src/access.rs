//! Accesses a machine, running or not: its specification, its files, its console.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use kcl_driver_api::{Error, ErrorKind, File, MachineSpec, Result};
use kcl_driver_local::context::Context as _;
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

/// Brings files of the machine to the disk. The machine's own file system is volatile and never does, so that after a power
/// cut they would be there, and empty.
pub fn settle(names: &MachineNames, files: &[File]) -> Result<()> {
    let spec = spec(names)?;
    let mut directories = BTreeSet::new();
    for file in files {
        let path = names.backing(&spec, &file.path);
        // A path through a link is another one here.
        if path.is_file() {
            sync(&path)?;
        }
        directories.extend(path.ancestors().skip(1).take_while(|at| at.starts_with(&names.dir)).map(Path::to_owned));
    }
    directories.iter().filter(|directory| directory.is_dir()).try_for_each(|directory| sync(directory))
}

fn sync(path: &Path) -> Result<()> {
    let what = || format!("bring {} to the disk", path.display());
    std::fs::File::open(path).and_then(|file| file.sync_all()).with_context(what)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;

    #[test]
    fn files_are_brought_to_the_disk_where_they_lie() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout { home: home.path().into(), run: home.path().join("run") };
        let names = layout.machine("kcl", "kcl").unwrap();
        let file = |path: &str| File { path: path.into(), mode: 0o600, content: Vec::new() };
        settle(&names, &[file("/etc/x")]).unwrap_err();
        let spec = MachineSpec {
            cluster: "kcl".into(),
            name: "kcl".into(),
            address: "10.89.0.2".parse().unwrap(),
            cpus: None,
            cpu_weight: 100,
            memory: None,
            rootfs: "/cache/rootfs".into(),
            trees: Vec::new(),
            volumes: vec!["/var/log".into()],
            ports: Vec::new(),
            mounts: Vec::new(),
            init: Vec::new(),
            labels: Default::default(),
        };
        std::fs::create_dir_all(names.upper().join("etc")).unwrap();
        storage::write(&names.spec_file(), &spec).unwrap();
        std::fs::write(names.upper().join("etc/x"), "x").unwrap();
        settle(&names, &[file("/etc/x"), file("/var/log/y"), file("/through/a/link")]).unwrap();
    }
}
