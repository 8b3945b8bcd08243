//! One writer of a cluster at a time: an OS lock, which the kernel releases when its process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Family, Result};
use crate::state::files;

/// The right to change a cluster; dropping it gives it back, and removes its file where there is no cluster (any more).
#[derive(Debug)]
pub struct ClusterLock {
    cluster: String,
    path: PathBuf,
    /// The cluster's directory.
    dir: PathBuf,
    // Held for its lock.
    _file: File,
}

impl ClusterLock {
    /// The cluster that it is for.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Takes the lock at `path` of the cluster whose directory is `dir`; `on_wait` hears once for each owner whom it
    /// waits for.
    pub(super) async fn take(
        path: PathBuf,
        cluster: &str,
        dir: PathBuf,
        mut on_wait: impl FnMut(&str),
    ) -> Result<Self> {
        let failed = |error: io::Error| {
            Error::new(Family::State, format!("the lock {} cannot be taken: {error}", path.display())).source(error)
        };
        loop {
            let mut file = open(&path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    on_wait(&owner(&mut file));
                    file = lock_blocking(file).await.map_err(failed)?;
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // Who holds the lock may remove its file: then this lock is of a file that no one else finds.
            if files::is_named(&file, &path).map_err(failed)? {
                sign(&mut file).map_err(failed)?;
                return Ok(ClusterLock { cluster: cluster.to_owned(), path, dir, _file: file });
            }
        }
    }
}

impl Drop for ClusterLock {
    fn drop(&mut self) {
        // Before the lock itself is given back, which comes with the file's end.
        if !self.dir.exists()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!("the lock {} stays: {error}", self.path.display());
        }
    }
}

/// The lock file, made where it is missing.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Waits for the lock on a thread of its own rather than of the runtime's: a runtime waits for its own threads
/// when it ends, so an interrupted kcl would hang until the other one is done.
async fn lock_blocking(file: File) -> io::Result<File> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("lock".to_owned()).spawn(move || {
        // Without a receiver the file is dropped here, and the lock with it.
        let _ = sender.send(file.lock().map(|()| file));
    })?;
    receiver.await.map_err(io::Error::other)?
}

/// Writes who holds the lock, for those who wait.
fn sign(file: &mut File) -> io::Result<()> {
    let command: Vec<_> = std::env::args().skip(1).take_while(|word| !word.starts_with('-')).collect();
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "process {} (kcl {})", std::process::id(), command.join(" "))
}

/// Who holds the lock, as far as it is written yet.
fn owner(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(read) if read > 0 => text,
        _ => "another kcl".to_owned(),
    }
}
