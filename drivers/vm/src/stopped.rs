//! Reads a file of a machine that is off: from the spool, its disk, or the trees below that.

use std::fs;
use std::path::{Component, Path, PathBuf};

use ext4_view::{Ext4, Ext4Error, FileType};
use kcl_driver_api::{Error, ErrorKind, MachineSpec, Result, TreeUse};
use kcl_driver_local::context::Context as _;

use crate::channel::check_size;
use crate::images::{backing, inside};
use crate::layout::MachineNames;
use crate::spool;

/// The most symbolic links that are followed, as by the kernel (path_resolution(7)).
const LINKS: usize = 40;

/// The entry at a path of the machine.
enum Found {
    Nothing,
    Link(PathBuf),
    Directory,
    File(Layer),
    Other,
}

enum Layer {
    Disk,
    Host(PathBuf),
}

/// Reads a file of a machine.
///
/// # Errors
/// `NotFound` if it does not exist, `State` if it is not a file.
pub(crate) fn get(names: &MachineNames, spec: &MachineSpec, path: &Path) -> Result<Vec<u8>> {
    spool::check(path)?;
    let disk = open(names)?;
    let missing = || Error::new(ErrorKind::NotFound, format!("there is no {} in the machine", path.display()));
    let mut resolved = PathBuf::from("/");
    let mut rest: Vec<PathBuf> = parts(path);
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == Path::new("..") {
            resolved.pop();
            continue;
        }
        let at = resolved.join(&part);
        if let (true, Some(content)) = (rest.is_empty(), spool::get(names, &at)?) {
            return Ok(content);
        }
        match find(&disk, spec, &at)? {
            // Directories of the spool come with its files.
            Found::Nothing if !rest.is_empty() => resolved = at,
            Found::Nothing => return Err(missing()),
            Found::Link(target) => {
                links += 1;
                if links > LINKS {
                    return Err(Error::new(
                        ErrorKind::State,
                        format!("{} has too many symbolic links", path.display()),
                    ));
                }
                if target.is_absolute() {
                    resolved = PathBuf::from("/");
                }
                rest.extend(parts(&target));
            }
            Found::Directory if !rest.is_empty() => resolved = at,
            Found::File(layer) if rest.is_empty() => return read(&disk, spec, &at, layer),
            Found::File(_) => return Err(missing()),
            Found::Directory | Found::Other => {
                let message = format!("{} in the machine is not a file", path.display());
                return Err(Error::new(ErrorKind::State, message));
            }
        }
    }
    Err(missing())
}

fn open(names: &MachineNames) -> Result<Ext4> {
    let path = names.data();
    Ext4::load_from_path(&path).map_err(|error| trouble(&path, &error))
}

fn trouble(path: &Path, error: &dyn std::error::Error) -> Error {
    Error::new(ErrorKind::Host, format!("could not read the disk {}: {error}", path.display()))
}

/// Returns the components of a path in reverse, to be taken from the end.
fn parts(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    parts.collect()
}

fn find(disk: &Ext4, spec: &MachineSpec, at: &Path) -> Result<Found> {
    for tree in spec.trees.iter().filter(|tree| tree.usage == TreeUse::ReadOnly) {
        if let Ok(relative) = at.strip_prefix(&tree.target) {
            return on_host(&tree.source.join(relative));
        }
    }
    let place = backing(spec, at);
    let upper = on_disk(disk, &place)?;
    // Volumes have nothing below them.
    if !matches!(upper, Some(Found::Nothing)) || !place.starts_with(kcl_node_spec::guest::UPPER) {
        return Ok(upper.unwrap_or(Found::Nothing));
    }
    on_host(&inside(&spec.rootfs, at))
}

/// Returns none for an overlay's mark of a deletion: a device with the numbers 0:0.
fn on_disk(disk: &Ext4, place: &Path) -> Result<Option<Found>> {
    let name = format!("/{}", place.display());
    let meta = match disk.symlink_metadata(name.as_str()) {
        Ok(meta) => meta,
        Err(Ext4Error::NotFound | Ext4Error::NotADirectory) => return Ok(Some(Found::Nothing)),
        Err(error) => return Err(trouble(place, &error)),
    };
    Ok(match meta.file_type() {
        FileType::Regular => Some(Found::File(Layer::Disk)),
        FileType::Directory => Some(Found::Directory),
        FileType::Symlink => {
            let target = disk.read_link(name.as_str()).map_err(|error| trouble(place, &error))?;
            Some(Found::Link(String::from_utf8_lossy(target.as_ref()).into_owned().into()))
        }
        FileType::CharacterDevice => None,
        _ => Some(Found::Other),
    })
}

fn on_host(path: &Path) -> Result<Found> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(Found::Nothing) };
    Ok(if meta.is_dir() {
        Found::Directory
    } else if meta.is_symlink() {
        Found::Link(fs::read_link(path).with_context(|| format!("read {}", path.display()))?)
    } else if meta.is_file() {
        Found::File(Layer::Host(path.to_owned()))
    } else {
        Found::Other
    })
}

fn read(disk: &Ext4, spec: &MachineSpec, at: &Path, layer: Layer) -> Result<Vec<u8>> {
    match layer {
        Layer::Host(path) => fs::read(&path).with_context(|| format!("read {}", path.display())),
        Layer::Disk => from_disk(disk, &backing(spec, at)),
    }
}

/// Reads a file of the disk. Its size is what the guest wrote there, and the library takes as much memory at once.
fn from_disk(disk: &Ext4, place: &Path) -> Result<Vec<u8>> {
    let name = format!("/{}", place.display());
    let meta = disk.symlink_metadata(name.as_str()).map_err(|error| trouble(place, &error))?;
    check_size(place, meta.len())?;
    disk.read(name.as_str()).map_err(|error| trouble(place, &error))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::images::program;

    #[test]
    fn a_file_that_does_not_fit_in_memory_is_refused() {
        let mke2fs = program("mke2fs");
        if !mke2fs.is_file() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let (source, image) = (directory.path().join("source"), directory.path().join("image"));
        fs::create_dir(&source).unwrap();
        fs::write(source.join("small"), "hello").unwrap();
        // Holes take no room.
        fs::File::create(source.join("large")).unwrap().set_len(1 << 40).unwrap();
        let mut make = Command::new(mke2fs);
        make.args(["-q", "-F", "-t", "ext4", "-d"]).arg(&source).arg(&image).arg("4M");
        assert!(make.status().unwrap().success());
        let disk = Ext4::load_from_path(&image).unwrap();
        assert_eq!(from_disk(&disk, Path::new("small")).unwrap(), b"hello");
        let error = from_disk(&disk, Path::new("large")).unwrap_err();
        assert!(error.message.contains("large in the machine has more than"), "{error}");
    }
}
