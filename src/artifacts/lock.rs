//! Locks between runs of kcl. They are the kernel's (`flock(2)`), so a killed run leaves none.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use tokio::sync::oneshot;

use super::cache::trouble;
use crate::error::{Error, Family, Result};

/// A lock that is held; dropped, it is free.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a process that another thread has forked shares the open file until it is another program.
        let _ = self.file.unlock();
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| trouble("open", path, error))
}

/// Who holds a lock, for people.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    match read {
        Ok(_) if !text.trim().is_empty() => format!("process {}", text.trim()),
        _ => "another kcl".into(),
    }
}

fn sign(mut file: File) -> Lock {
    // Only for people who wait; a lock without a name is as good.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
    Lock { file }
}

/// Waits until the lock is free and takes it. `waiting` is told once who holds it, if anyone does.
pub async fn exclusive(path: &Path, waiting: impl FnOnce(&str)) -> Result<Lock> {
    take(path, File::try_lock, File::lock, waiting).await.map(sign)
}

/// Takes the lock together with others who share it, waiting for one who does not.
pub async fn shared(path: &Path, waiting: impl FnOnce(&str)) -> Result<Lock> {
    Ok(Lock { file: take(path, File::try_lock_shared, File::lock_shared, waiting).await? })
}

async fn take(
    path: &Path,
    try_lock: fn(&File) -> std::result::Result<(), TryLockError>,
    lock: fn(&File) -> std::io::Result<()>,
    waiting: impl FnOnce(&str),
) -> Result<File> {
    let mut file = open(path)?;
    match try_lock(&file) {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => waiting(&holder(&mut file)),
        Err(TryLockError::Error(error)) => return Err(trouble("lock", path, error)),
    }
    // A thread of its own: one that waits in the runtime's pool would hold up the end of an interrupted kcl.
    let (send, receive) = oneshot::channel();
    std::thread::spawn(move || {
        let locked = lock(&file);
        let _ = send.send(locked.map(|()| file));
    });
    let locked = receive.await.map_err(|_| Error::new(Family::Internal, "the thread that waits for a lock ended"))?;
    locked.map_err(|error| trouble("lock", path, error))
}

/// Takes the lock if it is free; else says who holds it.
pub fn try_exclusive(path: &Path) -> Result<std::result::Result<Lock, String>> {
    let mut file = open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Ok(sign(file))),
        Err(TryLockError::WouldBlock) => Ok(Err(holder(&mut file))),
        Err(TryLockError::Error(error)) => Err(trouble("lock", path, error)),
    }
}

/// As [`shared`], without waiting; says who holds the lock.
pub fn try_shared(path: &Path) -> Result<std::result::Result<Lock, String>> {
    let mut file = open(path)?;
    match file.try_lock_shared() {
        Ok(()) => Ok(Ok(Lock { file })),
        Err(TryLockError::WouldBlock) => Ok(Err(holder(&mut file))),
        Err(TryLockError::Error(error)) => Err(trouble("lock", path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_waits_and_knows_for_whom() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lock");
        let first = exclusive(&path, |_| panic!("it is free")).await.expect("lock");
        assert_eq!(
            try_exclusive(&path).expect("try").expect_err("it is held"),
            format!("process {}", std::process::id())
        );
        let (send, receive) = oneshot::channel();
        let second = exclusive(&path, |holder| send.send(holder.to_owned()).expect("a listener"));
        let release = async {
            assert_eq!(receive.await.expect("waiting"), format!("process {}", std::process::id()));
            drop(first);
        };
        let (second, ()) = tokio::join!(second, release);
        drop(second.expect("lock"));
        try_exclusive(&path).expect("try").expect("it is free");
    }
}
