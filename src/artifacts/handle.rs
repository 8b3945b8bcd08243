//! The handle on the artifacts of this machine: its cache, its options and its lock.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use kcl_files::Lock;

use super::cache::{self, Cache};
use super::want::Options;
use crate::error::{Error, Id, Result};
use crate::progress::Step;

/// The artifacts of this machine.
#[derive(Debug)]
pub struct Artifacts {
    pub(super) cache: Cache,
    pub(super) options: Options,
    /// The reason why releases are unreachable, once known: the network is tried once a run, not once an artifact.
    pub(super) unreachable: Mutex<Option<String>>,
    /// The titles of downloaded artifacts that are not pinned and not reported yet.
    pub(super) unpinned: Mutex<Vec<String>>,
}

impl Artifacts {
    /// Opens the cache in a directory, which is created if necessary.
    ///
    /// # Errors
    /// `Usage` for an invalid address of a mirror.
    pub fn open(cache: &Path, options: Options) -> Result<Artifacts> {
        if let Some(mirror) = &options.mirror
            && !reqwest::Url::parse(mirror).is_ok_and(|url| ["http", "https"].contains(&url.scheme()))
        {
            return Err(Error::new(Id::FlagInvalid, format!("the mirror {mirror:?} is not an http or https address"))
                .hint("such as https://mirror.example.com/kubernetes"));
        }
        Ok(Artifacts { cache: Cache::open(cache)?, options, unreachable: Mutex::default(), unpinned: Mutex::default() })
    }

    pub(super) async fn lease(&self, step: &Step) -> Result<Lock> {
        let path = self.lease_path();
        let waiting = |holder: &str| step.message(format!("waiting for {holder}, which cleans the cache"));
        Lock::shared(&path, waiting).await.map_err(|error| cache::trouble("lock", &path, error))
    }

    /// Returns the path of the lock that users of the cache share, and that cleaning holds exclusively.
    pub(super) fn lease_path(&self) -> PathBuf {
        self.cache.root().join("locks/cache.lock")
    }
}
