//! The values that callers of this room pass and receive.

use std::path::PathBuf;
use std::sync::Arc;

use kcl_files::Lock;

/// How artifacts are got that are not in the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// From a release where the network reaches one, else by building.
    #[default]
    Auto,
    /// By building.
    Build,
    /// From the projects' releases, or their mirror. What nobody releases is built.
    Release,
    /// From a file made by `kcl bundle create`, and from nothing else.
    Bundle(PathBuf),
}

/// The directory of the cache with disks that virtual machines share, which their driver makes.
pub const VM_IMAGES: &str = "vm";

/// What a cluster wants.
#[derive(Clone, Debug, Default)]
pub struct Want {
    /// The version of Kubernetes, as a user writes it (see [`catalog::Catalog::kubernetes_version`]).
    pub kubernetes: String,
    /// How to get what is not in the cache.
    pub way: Way,
    /// Images of the catalog that nodes have from the start, besides the system's.
    pub images: Vec<String>,
    /// Nodes are virtual machines, or some of them.
    pub vm: bool,
}

impl Want {
    /// What every cluster wants, in the way that is open.
    pub fn cluster(kubernetes: &str) -> Self {
        Want { kubernetes: kubernetes.to_owned(), ..Want::default() }
    }
}

/// What holds for all artifacts of a run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A mirror that serves the paths of the projects' release pages, in place of them.
    pub mirror: Option<String>,
    /// A file of PEM certificates of authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// What nodes are made of. All of it is read-only but by agreement only: it is shared by all clusters.
#[derive(Clone, Debug)]
pub struct NodeArtifacts {
    /// The version of Kubernetes: `v1.37.0`.
    pub kubernetes: String,
    /// The name of the composed entry, which a cluster keeps to tell [`Artifacts::clean`] what it uses.
    pub key: String,
    /// The node root file system, unpacked.
    pub rootfs: PathBuf,
    /// A directory with `bin/` and `cni/`.
    pub components: PathBuf,
    /// A containerd root to seed nodes with: see [`store::seed`].
    pub image_store: PathBuf,
    /// A directory with `kcl-node`.
    pub agent: PathBuf,
    /// runc, for the host.
    pub runc: PathBuf,
    /// kubectl, for the host.
    pub kubectl: PathBuf,
    /// The kernel of virtual machines, where it was wanted: a directory with `vmlinuz` and `modules`.
    pub kernel: Option<PathBuf>,
    /// Keeps `clean` away as long as this is there.
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
