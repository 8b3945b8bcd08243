//! A file under a temporary name, for content that is written in pieces.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dir::{parent, remove, sync_dir};

/// The prefix of the names of temporary files.
pub const TEMPORARY: &str = ".kcl-";

/// A file that gets its name once it is whole. Dropping it before that removes it.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    is_placed: bool,
}

impl NewFile {
    /// Creates a file that is to become `path`, beside it under a name that no other process uses.
    pub fn create(path: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let dir = parent(path)?;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            match Self::open(dir.join(format!("{TEMPORARY}{}-{number}", std::process::id())), path) {
                // A killed process with the same number left it.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                opened => return opened,
            }
        }
    }

    /// Creates a file that is to become `path`, with the name `temporary` on the same file system. A file of that name is
    /// replaced, so the caller is its only writer.
    pub fn create_at(temporary: &Path, path: &Path) -> io::Result<Self> {
        remove(temporary)?;
        Self::open(temporary.to_owned(), path)
    }

    fn open(temporary: PathBuf, path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&temporary)?;
        Ok(NewFile { file, temporary, path: path.to_owned(), is_placed: false })
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The temporary name.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Gives the file to a user and a group. Without the right to do so it stays with this user, as after an editor.
    pub fn give_to(&self, user: u32, group: u32) -> io::Result<()> {
        match fchown(&self.file, Some(user), Some(group)) {
            Err(error) if error.kind() != ErrorKind::PermissionDenied => Err(error),
            _ => Ok(()),
        }
    }

    /// Sets the file's mode. A change of the owner clears the bits for set-user and set-group, so it comes before.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(mode))
    }

    /// Sets the mode, flushes the file to the disk, and gives it its name for good.
    pub fn commit(self, mode: u32) -> io::Result<()> {
        self.set_mode(mode)?;
        self.file.sync_all()?;
        let path = self.path.clone();
        self.place()?;
        sync_dir(parent(&path)?)
    }

    /// Gives the file its name, without a flush: after a power cut it may be empty.
    pub fn place(mut self) -> io::Result<()> {
        std::fs::rename(&self.temporary, &self.path)?;
        self.is_placed = true;
        Ok(())
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_placed {
            // The error that led here is the one to report.
            let _ = remove(&self.temporary);
        }
    }
}
