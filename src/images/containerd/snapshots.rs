//! Layers as file systems.

use std::collections::HashMap;

use tonic::Code;

use super::api::containerd::services::diff::v1::ApplyRequest;
use super::api::containerd::services::diff::v1::diff_client::DiffClient;
use super::api::containerd::services::snapshots::v1::snapshots_client::SnapshotsClient;
use super::api::containerd::services::snapshots::v1::{
    CommitSnapshotRequest, PrepareSnapshotRequest, RemoveSnapshotRequest, StatSnapshotRequest,
};
use super::{Answer, Containerd, Descriptor, Scoped};

/// The snapshotter of every node.
pub const SNAPSHOTTER: &str = "overlayfs";

impl Containerd {
    fn snapshots(&self) -> SnapshotsClient<Scoped> {
        SnapshotsClient::new(self.scoped())
    }

    async fn has_snapshot(&self, name: &str) -> Answer<bool> {
        let request = StatSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: name.to_owned() };
        match self.snapshots().stat(request).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(status),
        }
    }

    /// Unpacks a layer on top of `parent` (empty for none) as the snapshot `chain`. Returns the digest of the unpacked
    /// layer, or nothing if the snapshot already exists.
    pub async fn unpack(&self, layer: &Descriptor, parent: &str, chain: &str) -> Answer<Option<String>> {
        if self.has_snapshot(chain).await? {
            return Ok(None);
        }
        let key = format!("kcl-{}-{chain}", std::process::id());
        let prepare = PrepareSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            key: key.clone(),
            parent: parent.to_owned(),
            labels: HashMap::from([("containerd.io/snapshot.ref".to_owned(), chain.to_owned())]),
        };
        let mounts = self.snapshots().prepare(prepare).await?.into_inner().mounts;
        let apply = ApplyRequest { diff: Some(layer.clone()), mounts, ..ApplyRequest::default() };
        let filled = self.apply_and_commit(apply, chain, &key).await;
        if !matches!(filled, Ok(Some(_))) {
            let remove = RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key };
            let _ = self.snapshots().remove(remove).await;
        }
        filled
    }

    async fn apply_and_commit(&self, apply: ApplyRequest, chain: &str, key: &str) -> Answer<Option<String>> {
        let applied = DiffClient::new(self.scoped()).apply(apply).await?.into_inner().applied;
        let commit = CommitSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            name: chain.to_owned(),
            key: key.to_owned(),
            ..CommitSnapshotRequest::default()
        };
        match self.snapshots().commit(commit).await {
            Ok(_) => Ok(Some(applied.unwrap_or_default().digest)),
            // Another client was faster.
            Err(status) if status.code() == Code::AlreadyExists => Ok(None),
            Err(status) => Err(status),
        }
    }
}
