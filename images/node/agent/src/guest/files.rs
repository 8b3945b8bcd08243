//! Files of the machine that the host reads and writes.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use kcl_node_spec::guest::Reason;

use crate::error::{Doing, Error, Result};
use crate::files;

/// Writes a file whole or not at all; it is on the disk when this returns.
pub(super) fn put(path: &Path, mode: u32, content: &[u8]) -> Result<()> {
    let (Some(parent), Some(_)) = (path.parent(), path.file_name()) else {
        return Err(Error::Invalid(format!("{} is no path of a file", path.display())));
    };
    files::create_dir(parent)?;
    kcl_files::write_sole(path, content, mode).doing(|| format!("write {}", path.display()))
}

/// Reads a file, or returns the reason why it cannot be read.
pub(super) fn get(path: &Path) -> std::result::Result<Vec<u8>, (Reason, String)> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            (Reason::NotFound, format!("there is no {} in the machine", path.display()))
        }
        _ => (Reason::Failed, format!("could not read {} in the machine: {error}", path.display())),
    };
    // The open must not block, as the file may be a FIFO.
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
