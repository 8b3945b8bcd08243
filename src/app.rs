//! [`App`]: the values that every verb works with.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::addons::{Available, Selected};
use crate::bootstrap;
use crate::config::ClusterSpec;
use crate::error::{Error, Id, Result};
use crate::kubernetes::Access;
use crate::pki::Pki;
use crate::progress::Progress;
use crate::state::{ClusterLock, ClusterState, Store};

/// The values that every verb works with.
#[derive(Clone)]
pub struct App {
    /// The state of all clusters.
    pub store: Store,
    /// The receiver of progress and warnings.
    pub progress: Progress,
}

impl App {
    /// Takes the lock under which a cluster is changed. If another kcl holds it, says so and waits.
    pub async fn lock(&self, cluster: &str) -> Result<ClusterLock> {
        let progress = self.progress.clone();
        self.store
            .lock(cluster, move |owner| progress.info(format!("Waiting for {owner}, which works on the same cluster")))
            .await
    }

    /// Takes the lock of a cluster that has to exist, and loads its state. The kcl that held the lock before may have deleted
    /// it.
    pub async fn lock_existing(&self, cluster: &str) -> Result<(ClusterLock, ClusterState)> {
        // Nobody waits for a cluster that does not exist.
        self.existing(cluster)?;
        let lock = self.lock(cluster).await?;
        Ok((lock, self.existing(cluster)?))
    }

    /// Loads the state of a cluster that has to exist.
    pub fn existing(&self, cluster: &str) -> Result<ClusterState> {
        self.store.load(cluster)?.ok_or_else(|| {
            Error::new(Id::ClusterNotFound, format!("there is no cluster \"{cluster}\""))
                .hint(format!("create it with: kcl start -p {cluster}"))
                .hint("list the clusters with: kcl profile list")
        })
    }

    /// Returns the addons that a cluster has; sources of the user's own addons are not read again.
    pub fn addons(&self, spec: &ClusterSpec) -> Result<Vec<Selected>> {
        Available::with_copies(&self.addon_copies(&spec.name))?.select(&spec.addons, &spec.kubernetes_version)
    }

    /// Returns the directory that holds copies of the user's own addons.
    pub fn addon_copies(&self, cluster: &str) -> PathBuf {
        self.store.paths().cluster(cluster).join("addons")
    }

    /// Opens the certificates and keys of a cluster, and creates them if there are none.
    pub fn pki(&self, cluster: &str) -> Result<Pki> {
        Pki::open_or_create(&self.store.paths().cluster(cluster).join("pki"), cluster, Timestamp::now())
    }

    /// Returns the API of a cluster and its administrator's credentials.
    pub fn access(&self, state: &ClusterState) -> Result<Access> {
        bootstrap::access(state, &self.pki(&state.spec.name)?)
    }
}
