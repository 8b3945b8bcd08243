//! The lock of a kubeconfig, as client-go has it: `<file>.lock`, made exclusively and removed afterwards (`lockFile` in
//! `tools/clientcmd/loader.go`). A lock that client-go left when it was killed stands in everybody's way until someone
//! removes it. Ours is held by an OS lock besides, so another kcl sees that its holder is gone and takes it over.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::kubeconfig::error;

/// How long another program may hold it: kubectl does for milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked for. A watch would not see what another host removes from a shared home.
const INTERVAL: Duration = Duration::from_millis(20);
/// The mode of a lock that kcl made; client-go's have no bits at all.
const OURS: u32 = 0o600;

/// The lock; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    // Held for its OS lock, which ends with the process.
    _held: kcl_files::Lock,
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
            let taken = attempt(&path).map_err(|cause| {
                error(file, format!("its lock {} cannot be made: {cause}", path.display())).source(cause)
            })?;
            match taken {
                Some(held) => return Ok(Lock { path, _held: held }),
                None if begun.elapsed() < patience => std::thread::sleep(INTERVAL),
                None => {
                    return Err(error(file, format!("another program holds its lock {}", path.display()))
                        .hint("wait for the other kubectl, kcl or tool to end")
                        .hint(format!("if there is none, one was killed and left the lock: `rm {}`", path.display())));
                }
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before the OS lock is given back, which comes with the file's end.
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!("the lock {} cannot be removed: {error}", self.path.display());
        }
    }
}

/// Takes the lock at `path`: a new one, or one that a kcl left. None where another program has it.
fn attempt(path: &Path) -> io::Result<Option<kcl_files::Lock>> {
    let mut options = OpenOptions::new();
    options.write(true).mode(OURS);
    let file = match options.clone().create_new(true).open(path) {
        Ok(file) => file,
        Err(there) if there.kind() == io::ErrorKind::AlreadyExists => match options.open(path) {
            Ok(file) if file.metadata()?.permissions().mode() & 0o777 == OURS => file,
            // Another program's: client-go's can only be opened by root. Or one that has just been given back.
            _ => return Ok(None),
        },
        Err(error) => return Err(error),
    };
    // None too if another kcl has taken and removed the file between the two steps.
    kcl_files::Lock::try_file(file, path)
}
