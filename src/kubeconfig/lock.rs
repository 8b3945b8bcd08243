//! The lock of a kubeconfig, with client-go's protocol: `<file>.lock` is created exclusively and removed afterwards
//! (`lockFile` in `tools/clientcmd/loader.go`). A client-go that is killed leaves its lock, and someone has to remove
//! it. kcl holds an OS lock on the file as well, so another kcl sees that the holder has ended and takes it over.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::kubeconfig::failure::error;

/// The longest time for which another program may hold it: kubectl holds it for milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// The interval of attempts. A watch would miss what another host removes from a shared home.
const INTERVAL: Duration = Duration::from_millis(20);
/// The mode of a lock that kcl created; client-go's have no bits at all.
const OURS: u32 = 0o600;

/// A lock that is held. Dropping it releases it.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    // The OS lock, which ends with the process.
    _held: kcl_files::Lock,
}

impl Lock {
    /// Locks the kubeconfig `file`, whose directory exists.
    pub(super) fn take(file: &Path) -> Result<Self> {
        Lock::take_within(file, PATIENCE)
    }

    /// Locks the kubeconfig `file`, or fails if another program still holds the lock after `patience`.
    pub(super) fn take_within(file: &Path, patience: Duration) -> Result<Self> {
        let mut name = file.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let begun = Instant::now();
        loop {
            let taken = attempt(&path).map_err(|cause| {
                error(file, format!("its lock {} cannot be made: {cause}", path.display())).source(cause)
            })?;
            match taken {
                Some(held) => return Ok(Lock { path, _held: held }),
                None if begun.elapsed() < patience => std::thread::sleep(INTERVAL),
                None => {
                    return Err(error(file, format!("another program holds its lock {}", path.display()))
                        .hint("wait for the other kubectl, kcl or tool to end")
                        .hint(format!("if none runs, one was killed and left the lock: `rm {}`", path.display())));
                }
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The OS lock is released after this.
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!("the lock {} cannot be removed: {error}", self.path.display());
        }
    }
}

/// Takes the lock at `path`: a new one, or one that a kcl left. Returns nothing if another program holds it.
fn attempt(path: &Path) -> io::Result<Option<kcl_files::Lock>> {
    let mut options = OpenOptions::new();
    options.write(true).mode(OURS);
    let file = match options.clone().create_new(true).open(path) {
        Ok(file) => file,
        Err(there) if there.kind() == io::ErrorKind::AlreadyExists => match options.open(path) {
            Ok(file) if file.metadata()?.permissions().mode() & 0o777 == OURS => file,
            // It is another program's (only root can open client-go's), or it has just been released.
            _ => return Ok(None),
        },
        Err(error) => return Err(error),
    };
    // Another kcl may have taken and removed the file between the two steps; then this returns nothing.
    kcl_files::Lock::try_file(file, path)
}
