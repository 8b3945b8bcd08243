//! Reads and writes the state of clusters.

use std::io;
use std::path::{Path, PathBuf};

use kcl_files::{Marker, sync_dir, user_dir, write};

use crate::config;
use crate::error::{Error, Id, Result};
use crate::state::migrate::migrate;
use crate::state::{ClusterLock, ClusterState, Paths, denied, home};

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
        home::check(&self.paths.home)?;
        self.make().map_err(|error| {
            Error::new(
                Id::StateUnwritable,
                format!("the directory {} cannot be made: {error}", self.paths.home.display()),
            )
            .hint("give another directory by KCL_HOME")
            .source(error)
        })?;
        let path = self.paths.locks().join(format!("{cluster}.lock"));
        ClusterLock::take(path, cluster, self.paths.cluster(cluster), on_wait).await
    }

    /// Reads the state of a cluster; returns nothing if it does not exist.
    pub fn load(&self, cluster: &str) -> Result<Option<ClusterState>> {
        config::check_name(cluster)?;
        home::check(&self.paths.home)?;
        let path = self.file(cluster);
        match std::fs::read(&path) {
            Ok(content) => parse(&content).map(Some).map_err(|problem| {
                Error::new(Id::StateUnreadable, format!("{}: {problem}", path.display()))
                    .hint("fix the file, or restore a copy of it")
                    .hint(format!("`kcl delete -p {cluster}` still removes the cluster, file and all"))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unreadable(&path, error)),
        }
    }

    /// Writes `state`. A file that this kcl cannot read is never overwritten.
    pub fn save(&self, state: &ClusterState) -> Result<()> {
        self.load(&state.spec.name)?;
        let path = self.file(&state.spec.name);
        let dir = self.paths.cluster(&state.spec.name);
        let save = || {
            self.make()?;
            user_dir(&dir)?;
            let mut content = serde_json::to_vec_pretty(state)?;
            content.push(b'\n');
            write(&path, &content, 0o600)
        };
        save().map_err(|error| {
            Error::new(Id::StateUnwritable, format!("{}: cannot be written: {error}", path.display())).source(error)
        })
    }

    /// Removes what kcl made in the directory of the cluster of `lock`, and the directory unless others made something
    /// there; returns the names of that. The lock file goes when the lock is released.
    pub fn remove(&self, lock: &ClusterLock) -> Result<Vec<String>> {
        let dir = self.paths.cluster(lock.cluster());
        let remove = || {
            let others = home::remove(&dir)?;
            Marker::forget(&self.paths.home, lock.cluster())?;
            sync_dir(&self.paths.clusters())?;
            Ok(others)
        };
        remove().map_err(|error: io::Error| {
            Error::new(Id::StateUnwritable, format!("{}: cannot be removed: {error}", dir.display())).source(error)
        })
    }

    /// Returns all clusters by name: the directories with a state. Damaged states are errors.
    pub fn list(&self) -> Result<Vec<(String, Result<ClusterState>)>> {
        home::check(&self.paths.home)?;
        let dir = self.paths.clusters();
        let names = || match std::fs::read_dir(&dir) {
            Ok(entries) => entries.map(|entry| Ok(entry?.file_name().into_string().ok())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let mut names: Vec<String> = names()
            .map_err(|error: io::Error| self.unreadable(&dir, error))?
            .into_iter()
            .flatten()
            .filter(|name| config::check_name(name).is_ok())
            .collect();
        names.sort();
        Ok(names.into_iter().filter_map(|name| self.load(&name).transpose().map(|state| (name, state))).collect())
    }

    /// Makes the home and marks it as kcl's.
    fn make(&self) -> io::Result<()> {
        user_dir(&self.paths.home)?;
        home::mark(&self.paths.home)?;
        [self.paths.clusters(), self.paths.locks()].iter().try_for_each(|dir| user_dir(dir))
    }

    fn unreadable(&self, path: &Path, error: io::Error) -> Error {
        let found = Error::new(Id::StateUnreadable, format!("{}: cannot be read: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::PermissionDenied => denied(found, &self.paths.home),
            _ => found,
        }
        .source(error)
    }

    fn file(&self, cluster: &str) -> PathBuf {
        self.paths.cluster(cluster).join(home::STATE)
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
