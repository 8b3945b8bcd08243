//! The lock of a cluster, for one writer at a time. The kernel releases it when its process ends, however it ends.

use std::path::PathBuf;

use kcl_files::Lock;

use crate::error::{Error, Id, Result};

/// The right to change a cluster. Dropping it releases it, and removes its file if the cluster does not exist.
#[derive(Debug)]
pub struct ClusterLock {
    cluster: String,
    path: PathBuf,
    /// The cluster's directory.
    dir: PathBuf,
    _held: Lock,
}

impl ClusterLock {
    /// Returns the name of the cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Takes the lock at `path` of the cluster whose directory is `dir`; `on_wait` gets the name of each holder that it
    /// waits for.
    pub(super) async fn take(path: PathBuf, cluster: &str, dir: PathBuf, on_wait: impl FnMut(&str)) -> Result<Self> {
        let held = Lock::exclusive(&path, on_wait).await.map_err(|error| {
            Error::new(Id::StateLocked, format!("the lock {} cannot be taken: {error}", path.display())).source(error)
        })?;
        Ok(ClusterLock { cluster: cluster.to_owned(), path, dir, _held: held })
    }
}

impl Drop for ClusterLock {
    fn drop(&mut self) {
        // The lock itself is released after this.
        if !self.dir.exists()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!("the lock {} stays: {error}", self.path.display());
        }
    }
}
