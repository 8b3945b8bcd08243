//! Makes the files of a machine, and reads its specification.

use std::path::Path;

use kcl_driver_api::{Error, ErrorKind, MachineSpec, Result, TreeUse};
use kcl_driver_local::storage;

use crate::images::Images;
use crate::layout::MachineNames;

/// Makes the machine's files, or takes over changes to the specification of one that is there: they hold from its next
/// boot.
///
/// # Errors
/// `State` for what cannot be made, `NotFound` for a directory that is not there, `Host` where a disk cannot be made.
pub fn create(names: &MachineNames, images: &Images, spec: &MachineSpec) -> Result<()> {
    spec.check()?;
    match storage::read::<MachineSpec>(&names.spec_file())? {
        Some(there) if there == *spec => return Ok(()),
        Some(there) => {
            let is_new = |target: &Path| there.trees.iter().all(|old| old.target != target);
            let seed = spec.trees.iter().find(|tree| tree.usage != TreeUse::ReadOnly && is_new(&tree.target));
            if let Some(tree) = seed {
                let message = format!(
                    "the machine {} is there; nothing can be laid down in it at {}",
                    spec.name,
                    tree.target.display()
                );
                return Err(Error::new(ErrorKind::State, message).hint("delete it first"));
            }
        }
        None => {
            // Cut off half-way: nobody can tell what is missing.
            storage::remove_tree(&names.dir)?;
            storage::make_private_directory(&names.dir)?;
            images.data(spec, &names.data())?;
        }
    }
    storage::write(&names.spec_file(), spec)
}

/// What the machine is to be; read each time, as another kcl may have changed it.
///
/// # Errors
/// `State` where it is broken.
pub fn read_spec(names: &MachineNames) -> Result<MachineSpec> {
    let broken = || {
        let message = format!("the creation or deletion of machine {} was cut off", names.name);
        Error::new(ErrorKind::State, message).hint("delete it")
    };
    storage::read(&names.spec_file())?.ok_or_else(broken)
}
