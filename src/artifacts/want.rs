//! The requests and results of the artifacts room.

use std::path::PathBuf;
use std::sync::Arc;

use kcl_files::Lock;

/// The source of artifacts that are not in the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// A release if one is reachable, otherwise a build.
    #[default]
    Auto,
    /// A build on this host.
    Build,
    /// The projects' releases, or their mirror. Artifacts without a release are built.
    Release,
    /// A file made by `kcl bundle create`, and nothing else.
    Bundle(PathBuf),
}

/// The directory of the cache for the disks that virtual machines share; their driver creates them.
pub const VM_IMAGES: &str = "vm";

/// The artifacts that a cluster needs.
#[derive(Clone, Debug, Default)]
pub struct Want {
    /// The version of Kubernetes, as a user writes it (see [`super::catalog::Catalog::kubernetes_version`]).
    pub kubernetes: String,
    /// The source of artifacts that are not in the cache.
    pub way: Way,
    /// Images of the catalog that nodes have from the start, in addition to the system's.
    pub images: Vec<String>,
    /// True if some nodes are virtual machines.
    pub vm: bool,
}

impl Want {
    /// Returns the artifacts of every cluster, from any source.
    pub fn cluster(kubernetes: &str) -> Self {
        Want { kubernetes: kubernetes.to_owned(), ..Want::default() }
    }
}

/// The options for all artifacts of a run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A mirror that serves the paths of the projects' release pages instead of them.
    pub mirror: Option<String>,
    /// A file of PEM certificates of authorities to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

/// The artifacts of nodes. All clusters share them, so they must not be modified, although nothing prevents it.
#[derive(Clone, Debug)]
pub struct NodeArtifacts {
    /// The version of Kubernetes: `v1.37.0`.
    pub kubernetes: String,
    /// The name of the composed entry, by which [`super::Artifacts::clean`] knows what a cluster uses.
    pub key: String,
    /// The node root file system, unpacked.
    pub rootfs: PathBuf,
    /// A directory with `bin/` and `cni/`.
    pub components: PathBuf,
    /// A containerd root to seed nodes with: see [`super::store::seed`].
    pub image_store: PathBuf,
    /// A directory with `kcl-node`.
    pub agent: PathBuf,
    /// runc, for the host.
    pub runc: PathBuf,
    /// kubectl, for the host.
    pub kubectl: PathBuf,
    /// The kernel of virtual machines, if requested: a directory with `vmlinuz` and `modules`.
    pub kernel: Option<PathBuf>,
    /// Blocks `clean` while this value exists.
    pub(super) _lease: Arc<Lock>,
}

/// An image as a file.
#[derive(Clone, Debug)]
pub struct ImageArchive {
    /// Its reference, such as `registry.k8s.io/pause:3.10.2`.
    pub reference: String,
    /// The digest of its manifest: `sha256:…`.
    pub digest: String,
    /// An OCI image layout in a tar.
    pub path: PathBuf,
}
