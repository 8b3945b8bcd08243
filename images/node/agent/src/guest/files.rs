//! Files of the machine, for its host.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use kcl_node_spec::guest::Reason;

use crate::error::{Doing, Error, Result};
use crate::files;

/// Writes a file: whole or not at all, and on the disk when it returns.
pub fn put(path: &Path, mode: u32, content: &[u8]) -> Result<()> {
    let what = || format!("write {}", path.display());
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::Invalid(format!("{} is no path of a file", path.display())));
    };
    files::create_dir(parent)?;
    let temporary = parent.join(format!(".kcl-{}", name.to_string_lossy()));
    let write = || {
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(parent)?.sync_all()
    };
    write()
        .inspect_err(|_| {
            // The first error is the one to tell.
            let _ = fs::remove_file(&temporary);
        })
        .doing(what)
}

/// Reads a file, or says why it cannot be.
pub fn get(path: &Path) -> std::result::Result<Vec<u8>, (Reason, String)> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            (Reason::NotFound, format!("there is no {} in the machine", path.display()))
        }
        _ => (Reason::Failed, format!("could not read {} in the machine: {error}", path.display())),
    };
    // Not blocking, as it may be a FIFO.
    let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if !kind.is_file() {
        let found = if kind.is_dir() {
            "a directory"
        } else if kind.is_fifo() {
            "a FIFO"
        } else {
            "a device"
        };
        return Err((Reason::NoFile, format!("{} in the machine is {found}, no file", path.display())));
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}
