//! Reads and writes the state of clusters.

use std::io;
use std::path::PathBuf;

use kcl_files::{private_dir, sync_dir, write};

use crate::config;
use crate::error::{Error, Family, Result};
use crate::state::migrate::migrate;
use crate::state::{ClusterLock, ClusterState, Paths};

/// The state of all clusters of this user.
#[derive(Clone, Debug)]
pub struct Store {
    paths: Paths,
}

impl Store {
    /// Opens the store below `paths.home`. This changes nothing on the disk: the first write creates directories.
    pub fn open(paths: Paths) -> Self {
        Store { paths }
    }

    /// Returns the directories of kcl.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Locks a cluster for changes; the cluster need not exist. If another process holds it, this waits, and
    /// `on_wait` gets the name of the holder. Dropping the future ends the wait.
    pub async fn lock(&self, cluster: &str, on_wait: impl FnMut(&str)) -> Result<ClusterLock> {
        config::check_name(cluster)?;
        for dir in [self.paths.clusters(), self.paths.locks()] {
            private_dir(&dir).map_err(|error| {
                Error::new(Family::State, format!("the directory {} cannot be made: {error}", dir.display()))
                    .hint("give another directory by KCL_HOME")
                    .source(error)
            })?;
        }
        let path = self.paths.locks().join(format!("{cluster}.lock"));
        ClusterLock::take(path, cluster, self.paths.cluster(cluster), on_wait).await
    }

    /// Reads the state of a cluster; returns nothing if it does not exist.
    pub fn load(&self, cluster: &str) -> Result<Option<ClusterState>> {
        config::check_name(cluster)?;
        let path = self.file(cluster);
        match std::fs::read(&path) {
            Ok(content) => parse(&content).map(Some).map_err(|problem| {
                Error::new(Family::State, format!("{}: {problem}", path.display()))
                    .hint("fix the file, or restore a copy of it")
                    .hint(format!("`kcl delete -p {cluster}` still removes the cluster, file and all"))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(Error::new(Family::State, format!("{}: cannot be read: {error}", path.display())).source(error))
            }
        }
    }

    /// Writes `state`. A file that this kcl cannot read is never overwritten.
    pub fn save(&self, state: &ClusterState) -> Result<()> {
        self.load(&state.spec.name)?;
        let path = self.file(&state.spec.name);
        let dir = self.paths.cluster(&state.spec.name);
        let save = || {
            private_dir(&dir)?;
            let mut content = serde_json::to_vec_pretty(state)?;
            content.push(b'\n');
            write(&path, &content, 0o600)
        };
        save().map_err(|error| {
            Error::new(Family::State, format!("{}: cannot be written: {error}", path.display())).source(error)
        })
    }

    /// Removes the directory of the cluster of `lock`, if there is one. The lock file goes when the lock is released.
    pub fn remove(&self, lock: &ClusterLock) -> Result<()> {
        let dir = self.paths.cluster(lock.cluster());
        let remove = || {
            match std::fs::remove_dir_all(&dir) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            sync_dir(&self.paths.clusters())
        };
        remove().map_err(|error| {
            Error::new(Family::State, format!("{}: cannot be removed: {error}", dir.display())).source(error)
        })
    }

    /// Returns all clusters by name. Damaged and missing states are errors.
    pub fn list(&self) -> Result<Vec<(String, Result<ClusterState>)>> {
        let dir = self.paths.clusters();
        let names = || match std::fs::read_dir(&dir) {
            Ok(entries) => entries.map(|entry| Ok(entry?.file_name().into_string().ok())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let mut names: Vec<String> = names()
            .map_err(|error: io::Error| {
                Error::new(Family::State, format!("{}: cannot be read: {error}", dir.display())).source(error)
            })?
            .into_iter()
            .flatten()
            .filter(|name| config::check_name(name).is_ok())
            .collect();
        names.sort();
        Ok(names
            .into_iter()
            .map(|name| {
                let state = self.load(&name).and_then(|state| {
                    state.ok_or_else(|| {
                        Error::new(Family::State, format!("the cluster {name} is half made: it has no state"))
                            .hint(format!("`kcl delete -p {name}` removes what is there"))
                    })
                });
                (name, state)
            })
            .collect())
    }

    fn file(&self, cluster: &str) -> PathBuf {
        self.paths.cluster(cluster).join("state.json")
    }
}

/// Parses the state in a file, or describes its fault.
fn parse(content: &[u8]) -> std::result::Result<ClusterState, String> {
    let value: serde_json::Value =
        serde_json::from_slice(content).map_err(|error| format!("is damaged: it is not JSON: {error}"))?;
    serde_json::from_value(migrate(value)?).map_err(|error| format!("is damaged: {error}"))
}

#[cfg(test)]
mod tests;
