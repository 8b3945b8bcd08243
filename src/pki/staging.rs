//! The files of the CAs, and a directory of files that appears whole or not at all.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kcl_files::{TEMPORARY, hand_over, sync_dir, user_dir, write};

/// The CAs: the file's name without its extension, and the suffix of the cluster's name in the subject.
pub(super) const CLUSTER_CA: (&str, &str) = ("ca", "ca");
pub(super) const ETCD_CA: (&str, &str) = ("etcd-ca", "etcd-ca");
pub(super) const FRONT_PROXY_CA: (&str, &str) = ("front-proxy-ca", "front-proxy-ca");

/// A directory that is filled before it appears.
pub(super) struct Staging(tempfile::TempDir);

impl Staging {
    /// Creates it beside its place.
    pub(super) fn beside(dir: &Path) -> io::Result<Self> {
        let parent = dir.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        user_dir(parent)?;
        let private = Permissions::from_mode(0o700);
        let staging = tempfile::Builder::new().prefix(TEMPORARY).permissions(private).tempdir_in(parent)?;
        hand_over(staging.path())?;
        Ok(Staging(staging))
    }

    /// Writes a file in it.
    pub(super) fn put(&self, name: &str, content: &str) -> io::Result<()> {
        write(&self.0.path().join(name), content.as_bytes(), 0o600)
    }

    /// Makes it appear.
    pub(super) fn place(self, dir: &Path) -> io::Result<()> {
        sync_dir(self.0.path())?;
        std::fs::rename(self.0.path(), dir)?;
        // Its old place is empty, so the guard has nothing to remove.
        let _ = self.0.keep();
        sync_dir(dir.parent().unwrap_or(dir))
    }
}
