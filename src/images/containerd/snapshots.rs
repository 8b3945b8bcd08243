//! Layers as file systems.

use std::collections::HashMap;

use tonic::Code;

use super::messages::{
    ApplyRequest, ApplyResponse, CommitSnapshotRequest, Empty, Mounts, PrepareSnapshotRequest, SnapshotKey,
};
use super::{Answer, Containerd, Descriptor};

/// The snapshotter of every node.
pub const SNAPSHOTTER: &str = "overlayfs";

impl Containerd {
    /// Whether a snapshot is there.
    async fn snapshot_is_there(&self, name: &str) -> Answer<bool> {
        let key = SnapshotKey { snapshotter: SNAPSHOTTER.to_owned(), key: name.to_owned() };
        match self.call::<_, Empty>("/containerd.services.snapshots.v1.Snapshots/Stat", key).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(status),
        }
    }

    /// Unpacks a layer on top of `parent` (empty for none) as the snapshot `chain`. Returns the digest of what was
    /// unpacked, where it was not there yet.
    pub async fn unpack(&self, layer: &Descriptor, parent: &str, chain: &str) -> Answer<Option<String>> {
        if self.snapshot_is_there(chain).await? {
            return Ok(None);
        }
        let snapshotter = SNAPSHOTTER.to_owned();
        let key = format!("kcl-{}-{chain}", std::process::id());
        let labels = HashMap::from([("containerd.io/snapshot.ref".to_owned(), chain.to_owned())]);
        let prepare = PrepareSnapshotRequest {
            snapshotter: snapshotter.clone(),
            key: key.clone(),
            parent: parent.to_owned(),
            labels,
        };
        let made: Mounts = self.call("/containerd.services.snapshots.v1.Snapshots/Prepare", prepare).await?;
        let apply = ApplyRequest { diff: Some(layer.clone()), mounts: made.mounts };
        let applied: Answer<ApplyResponse> = self.call("/containerd.services.diff.v1.Diff/Apply", apply).await;
        let ended = match applied {
            Ok(applied) => {
                let commit = CommitSnapshotRequest {
                    snapshotter: snapshotter.clone(),
                    name: chain.to_owned(),
                    key: key.clone(),
                };
                match self.call::<_, Empty>("/containerd.services.snapshots.v1.Snapshots/Commit", commit).await {
                    Ok(_) => return Ok(Some(applied.applied.unwrap_or_default().digest)),
                    // Somebody else was faster.
                    Err(status) if status.code() == Code::AlreadyExists => Ok(None),
                    Err(status) => Err(status),
                }
            }
            Err(status) => Err(status),
        };
        let key = SnapshotKey { snapshotter, key };
        let _ = self.call::<_, Empty>("/containerd.services.snapshots.v1.Snapshots/Remove", key).await;
        ended
    }
}
