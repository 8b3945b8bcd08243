//! Makes a machine: its directory with everything that belongs to it, powered off.

use std::fs;
use std::path::Path;

use kcl_driver_api::{Error, ErrorKind, MachineSpec, Result, TreeUse};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::storage;

use crate::layout::MachineNames;
use crate::seed::{self, Copied};

/// Makes the machine, or updates the specification of one that exists. A machine that [`is_half_made`] has to be
/// deleted first.
pub fn create(names: &MachineNames, spec: &MachineSpec) -> Result<()> {
    match storage::read::<MachineSpec>(&names.spec_file())? {
        Some(there) if there == *spec => Ok(()),
        Some(there) => change(names, &there, spec),
        None => make(names, spec),
    }
}

/// Tells whether the machine's creation or deletion was interrupted, so that parts may be missing.
pub fn is_half_made(names: &MachineNames) -> bool {
    names.dir.exists() && !names.spec_file().exists()
}

fn make(names: &MachineNames, spec: &MachineSpec) -> Result<()> {
    storage::make_private_directory(&names.dir)?;
    for directory in [names.work(), names.rootfs(), names.dir.join("volumes")] {
        storage::make_private_directory(&directory)?;
    }
    // The machine's "/" has the attributes of the topmost directory.
    let upper = names.upper();
    storage::make_private_directory(&upper)?;
    let meta = fs::metadata(&spec.rootfs).with_context(|| format!("read {}", spec.rootfs.display()))?;
    seed::keep_attributes(&spec.rootfs, &upper, &meta)
        .with_context(|| format!("set the attributes of {}", upper.display()))?;
    for volume in &spec.volumes {
        lay_volume(names, spec, volume)?;
    }
    for tree in &spec.trees {
        lay_tree(names, spec, &tree.source, &tree.target, &tree.usage)?;
    }
    storage::write(&names.spec_file(), spec)
}

/// Updates what may change, effective from the next power-on. New trees and volumes are added; those that exist stay.
fn change(names: &MachineNames, there: &MachineSpec, spec: &MachineSpec) -> Result<()> {
    for volume in spec.volumes.iter().filter(|volume| !there.volumes.contains(volume)) {
        lay_volume(names, spec, volume)?;
    }
    for tree in spec.trees.iter().filter(|tree| there.trees.iter().all(|old| old.target != tree.target)) {
        lay_tree(names, spec, &tree.source, &tree.target, &tree.usage)?;
    }
    storage::write(&names.spec_file(), spec)
}

/// Fills a new volume with the content of the root file system at that path.
fn lay_volume(names: &MachineNames, spec: &MachineSpec, volume: &Path) -> Result<()> {
    let (directory, below) = (names.volume(volume), inside(&spec.rootfs, volume));
    match fs::symlink_metadata(&below) {
        Ok(meta) if meta.is_dir() => seed::lay(&below, &directory, Copied::All),
        _ => seed::make_parents(
            Path::new("/nonexistent"),
            &names.dir,
            directory.strip_prefix(&names.dir).unwrap_or(&directory),
        ),
    }
}

fn lay_tree(names: &MachineNames, spec: &MachineSpec, source: &Path, target: &Path, usage: &TreeUse) -> Result<()> {
    let TreeUse::Seed { copied } = usage else { return Ok(()) };
    let backing = names.backing(spec, target);
    if let Ok(relative) = backing.strip_prefix(names.upper()) {
        let through_link = relative.ancestors().find(|at| spec.rootfs.join(at).is_symlink());
        if let Some(link) = through_link {
            let message = format!(
                "the tree for {} cannot be placed: /{} is a symbolic link in {}; name the directory it points to",
                target.display(),
                link.display(),
                spec.rootfs.display()
            );
            return Err(Error::new(ErrorKind::State, message));
        }
        seed::make_parents(&spec.rootfs, &names.upper(), relative)?;
    } else if let Some(parent) = backing.parent() {
        fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    }
    seed::lay(source, &backing, Copied::Endings(copied))
}

fn inside(root: &Path, path: &Path) -> std::path::PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
