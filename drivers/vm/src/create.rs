//! Makes the files of a machine, and reads its specification.

use std::path::Path;

use kcl_driver_api::{Error, ErrorKind, MachineSpec, Result, TreeUse};
use kcl_driver_local::storage;

use crate::images::Images;
use crate::layout::MachineNames;

/// Makes the machine's files, or applies changes to the specification of one that exists: they take effect with its
/// next boot.
///
/// # Errors
/// `State` for an invalid specification, `NotFound` for a missing directory, `Host` if a disk cannot be made.
pub fn create(names: &MachineNames, images: &Images, spec: &MachineSpec) -> Result<()> {
    spec.check()?;
    match storage::read::<MachineSpec>(&names.spec_file())? {
        Some(there) if there == *spec => return Ok(()),
        Some(there) => {
            let is_new = |target: &Path| there.trees.iter().all(|old| old.target != target);
            let seed = spec.trees.iter().find(|tree| tree.usage != TreeUse::ReadOnly && is_new(&tree.target));
            if let Some(tree) = seed {
                let message = format!(
                    "machine {} already exists; nothing can be placed in it at {}",
                    spec.name,
                    tree.target.display()
                );
                return Err(Error::new(ErrorKind::State, message).hint("delete it first"));
            }
        }
        None => {
            // Interrupted half-way: nobody can tell which parts are missing.
            storage::remove_tree(&names.dir)?;
            storage::make_private_directory(&names.dir)?;
            images.data(spec, &names.data())?;
        }
    }
    storage::write(&names.spec_file(), spec)
}

/// Reads the specification of a machine; each time, as another kcl may have changed it.
///
/// # Errors
/// `State` if the machine is broken.
pub fn read_spec(names: &MachineNames) -> Result<MachineSpec> {
    let broken = || {
        let message = format!("the creation or deletion of machine {} was interrupted", names.name);
        Error::new(ErrorKind::State, message).hint("delete it")
    };
    storage::read(&names.spec_file())?.ok_or_else(broken)
}
