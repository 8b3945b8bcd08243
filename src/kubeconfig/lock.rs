//! client-go's lock of a kubeconfig: `<file>.lock`, made exclusively and removed afterwards (`lockFile` in
//! `tools/clientcmd/loader.go`).

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::kubeconfig::error;

/// How long another program may hold it: kubectl does for milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked for. A watch would not see what another host removes from a shared home.
const INTERVAL: Duration = Duration::from_millis(20);

/// The lock; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
}

impl Lock {
    /// Locks the kubeconfig `file`, whose directory exists.
    pub(super) fn take(file: &Path) -> Result<Self> {
        Lock::take_within(file, PATIENCE)
    }

    /// Locks the kubeconfig `file`, or says after `patience` that another has it.
    pub(super) fn take_within(file: &Path, patience: Duration) -> Result<Self> {
        let mut name = file.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let begun = Instant::now();
        loop {
            match OpenOptions::new().write(true).create_new(true).mode(0o000).open(&path) {
                Ok(_) => return Ok(Lock { path }),
                Err(held) if held.kind() == io::ErrorKind::AlreadyExists && begun.elapsed() < patience => {
                    std::thread::sleep(INTERVAL);
                }
                Err(held) if held.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(error(file, format!("another program holds its lock {}", path.display()))
                        .hint("wait for the other kubectl, kcl or tool to end")
                        .hint(format!("if there is none, one was killed and left the lock: `rm {}`", path.display())));
                }
                Err(cause) => {
                    return Err(
                        error(file, format!("its lock {} cannot be made: {cause}", path.display())).source(cause)
                    );
                }
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!("the lock {} cannot be removed: {error}", self.path.display());
        }
    }
}
