//! Locks on files by flock(2). The kernel releases them when their process ends, however it ends.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A lock that this process holds. Dropping it releases it.
#[derive(Debug)]
pub struct Lock {
    /// Empty only after [`Lock::into_file`].
    file: Option<File>,
}

/// The two ways to lock an open file: at once or not at all, and by waiting.
struct Kind {
    attempt: fn(&File) -> Result<(), TryLockError>,
    wait: fn(&File) -> io::Result<()>,
    /// A single holder writes its name into the file.
    is_signed: bool,
}

const EXCLUSIVE: Kind = Kind { attempt: File::try_lock, wait: File::lock, is_signed: true };
const SHARED: Kind = Kind { attempt: File::try_lock_shared, wait: File::lock_shared, is_signed: false };

impl Lock {
    /// Takes the lock at `path`, and waits while another process holds it. `on_wait` gets the name of each holder that
    /// it waits for. Dropping the future ends the wait.
    pub async fn exclusive(path: &Path, on_wait: impl FnMut(&str)) -> io::Result<Lock> {
        take(path, EXCLUSIVE, on_wait).await
    }

    /// Takes the lock at `path` together with others that share it, and waits while one holds it exclusively.
    pub async fn shared(path: &Path, on_wait: impl FnMut(&str)) -> io::Result<Lock> {
        take(path, SHARED, on_wait).await
    }

    /// Takes the lock at `path` if it is free, else returns the name of its holder.
    pub fn try_exclusive(path: &Path) -> io::Result<Result<Lock, String>> {
        try_take(path, &EXCLUSIVE)
    }

    /// Takes the lock at `path` if no process holds it exclusively, else returns the name of the holder.
    pub fn try_shared(path: &Path) -> io::Result<Result<Lock, String>> {
        try_take(path, &SHARED)
    }

    /// Locks an open file if it is free and `path` still names it.
    pub fn try_file(file: File, path: &Path) -> io::Result<Option<Lock>> {
        match file.try_lock() {
            Ok(()) => held(file, path),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Returns the locked file, to be passed on to another process. The lock ends when the last one closes it.
    pub fn into_file(mut self) -> File {
        self.file.take().expect("a lock has a file until it is given away")
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // Closing is not enough: a child that another thread has forked shares the open file until it calls exec.
            let _ = file.unlock();
        }
    }
}

async fn take(path: &Path, kind: Kind, mut on_wait: impl FnMut(&str)) -> io::Result<Lock> {
    loop {
        let mut file = open(path)?;
        match (kind.attempt)(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                on_wait(&holder(&mut file));
                file = wait(file, kind.wait).await?;
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if let Some(lock) = held(file, path)? {
            return Ok(lock.signed(&kind));
        }
    }
}

fn try_take(path: &Path, kind: &Kind) -> io::Result<Result<Lock, String>> {
    loop {
        let mut file = open(path)?;
        match (kind.attempt)(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Err(holder(&mut file))),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if let Some(lock) = held(file, path)? {
            return Ok(Ok(lock.signed(kind)));
        }
    }
}

/// Waits for the lock on a thread of its own. A runtime waits for the threads of its pool when it ends, so an
/// interrupted kcl would hang until the other one is done.
async fn wait(file: File, lock: fn(&File) -> io::Result<()>) -> io::Result<File> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("lock".to_owned()).spawn(move || {
        // Without a receiver the file is closed here, and the lock ends with it.
        let _ = sender.send(lock(&file).map(|()| file));
    })?;
    receiver.await.map_err(io::Error::other)?
}

/// Opens the lock file, which is created if it is missing.
fn open(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    crate::hand_over(path)?;
    Ok(file)
}

/// Returns the lock on a file, unless a former holder has removed its name: no other process would find that one.
fn held(file: File, path: &Path) -> io::Result<Option<Lock>> {
    let open = file.metadata()?;
    let lock = Lock { file: Some(file) };
    match std::fs::metadata(path) {
        Ok(named) => Ok(((named.dev(), named.ino()) == (open.dev(), open.ino())).then_some(lock)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Lock {
    /// Writes the name of this process into the file, for those that wait.
    fn signed(mut self, kind: &Kind) -> Lock {
        if let (Some(file), true) = (&mut self.file, kind.is_signed) {
            let command: Vec<_> = std::env::args().skip(1).take_while(|word| !word.starts_with('-')).collect();
            let name = format!("process {} (kcl {})", std::process::id(), command.join(" "));
            // A lock without a name is as good, and the disk may be full.
            let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(name.as_bytes()));
        }
        self
    }
}

/// Returns the name of the holder of a lock, if it is already written.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(read) if read > 0 => text,
        _ => "another kcl".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_waits_and_knows_for_whom() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::exclusive(&path, |_| panic!("it is free")).await.unwrap();
        let name = format!("process {} (kcl", std::process::id());
        assert!(Lock::try_exclusive(&path).unwrap().unwrap_err().starts_with(&name));
        assert!(Lock::try_shared(&path).unwrap().is_err());
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let second = Lock::exclusive(&path, |holder| sender.send(holder.to_owned()).unwrap());
        let release = async {
            assert!(receiver.recv().await.unwrap().starts_with(&name));
            drop(first);
        };
        let (second, ()) = tokio::join!(second, release);
        drop(second.unwrap());
        Lock::try_exclusive(&path).unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_shared_lock_is_shared() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::shared(&path, |_| panic!("it is free")).await.unwrap();
        let second = Lock::try_shared(&path).unwrap().unwrap();
        drop(first);
        assert!(Lock::try_exclusive(&path).unwrap().is_err());
        drop(second);
        Lock::try_exclusive(&path).unwrap().unwrap();
    }

    #[test]
    fn a_file_without_its_name_is_no_lock_and_one_that_is_given_away_stays_locked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let unnamed = open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(Lock::try_file(unnamed, &path).unwrap().is_none());
        let file = Lock::try_exclusive(&path).unwrap().unwrap().into_file();
        assert!(Lock::try_exclusive(&path).unwrap().is_err());
        drop(file);
        Lock::try_exclusive(&path).unwrap().unwrap();
    }
}
