//! Artifacts: what nodes and images are made of, got from a bundle, a release or a build, and kept in a cache that all
//! clusters share. What comes out has the same layout whichever way was taken.

mod build;
mod bundle;
pub mod cache;
pub mod catalog;
mod compose;
pub mod digest;
pub mod embedded;
mod get;
mod http;
pub mod image_config;
mod job;
pub mod manage;
pub mod oci;
pub mod process;
mod release;
pub mod store;
pub mod tree;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use cache::Cache;
pub use embedded::AGENT;
use kcl_files::Lock;
pub use manage::{Clean, Cleaned, Row};

use crate::error::{Error, Family, Result};
use crate::progress::{Progress, Step};

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
    /// The same as a zstd-compressed tar, for drivers that cannot share a directory.
    pub rootfs_archive: PathBuf,
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
    _lease: Arc<Lock>,
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

/// The artifacts of this machine.
#[derive(Debug)]
pub struct Artifacts {
    cache: Cache,
    options: Options,
    /// Why releases cannot be reached, once that is known: it is tried once a run, not once an artifact.
    unreachable: Mutex<Option<String>>,
}

impl Artifacts {
    /// With the cache in a directory, which is made if need be.
    ///
    /// # Errors
    /// `Usage` for a mirror that is no address.
    pub fn open(cache: &Path, options: Options) -> Result<Artifacts> {
        if let Some(mirror) = &options.mirror
            && !reqwest::Url::parse(mirror).is_ok_and(|url| ["http", "https"].contains(&url.scheme()))
        {
            return Err(Error::new(Family::Usage, format!("the mirror {mirror:?} is not an http or https address"))
                .hint("such as https://mirror.example.com/kubernetes"));
        }
        Ok(Artifacts { cache: Cache::open(cache)?, options, unreachable: Mutex::default() })
    }

    /// What is wanted, if all of it is in the cache. Nothing is fetched or made.
    pub fn cached(&self, want: &Want) -> Option<NodeArtifacts> {
        let lease = match Lock::try_shared(&self.lease_path()) {
            Ok(Ok(lease)) => lease,
            Ok(Err(_)) | Err(_) => return None,
        };
        compose::Plan::new(&self.cache, want).and_then(|plan| plan.cached(lease)).ok().flatten()
    }

    /// What is wanted: from the cache, and got where it is not there.
    ///
    /// # Errors
    /// `Usage` for a version or image that there is not; `Host` for what the host lacks to build; `Artifact` for what
    /// cannot be had. Dropped before it is done, it leaves no process and no half entry.
    pub async fn ensure(&self, want: &Want, progress: &Progress) -> Result<NodeArtifacts> {
        let plan = compose::Plan::new(&self.cache, want)?;
        let step = progress.step("artifacts", format!("Kubernetes {} and what it needs", plan.kubernetes));
        let lease = self.lease(&step).await?;
        let run = get::Run { artifacts: self, way: &want.way, progress, step: &step };
        let (found, made) = run.all(plan, lease).await?;
        step.finish(match made {
            0 => format!("Kubernetes {} is in the cache", found.kubernetes),
            _ => format!("Kubernetes {} and what it needs is there ({made} got)", found.kubernetes),
        });
        Ok(found)
    }

    /// Images of the catalog, by name, as archives that `ctr images import` takes: for nodes that run already.
    pub async fn images(&self, names: &[String], way: &Way, progress: &Progress) -> Result<Vec<ImageArchive>> {
        let known = oci::select(names)?;
        let step = progress.step("images", "Images");
        let _lease = self.lease(&step).await?;
        let run = get::Run { artifacts: self, way, progress, step: &step };
        let mut archives = Vec::new();
        for image in known.iter().filter(|image| names.contains(&image.name)) {
            let entry = run.image(image).await?;
            archives.push(ImageArchive {
                reference: image.reference.clone(),
                digest: entry.manifest.origin.first().cloned().unwrap_or_default(),
                path: entry.path.join(get::IMAGE),
            });
        }
        step.finish(format!("{} images are there", archives.len()));
        Ok(archives)
    }

    /// Single artifacts of the catalog, by name, each in its default version: where each is.
    pub async fn fetch(&self, names: &[String], way: &Way, progress: &Progress) -> Result<Vec<PathBuf>> {
        let wanted: Result<Vec<_>> = names.iter().map(|name| catalog::CATALOG.artifact(name)).collect();
        let wanted = wanted?;
        let step = progress.step("artifacts", names.join(", "));
        let _lease = self.lease(&step).await?;
        let run = get::Run { artifacts: self, way, progress, step: &step };
        let (entries, got) = run.artifacts(wanted).await?;
        step.finish(format!("{} ({got} got)", names.join(", ")));
        Ok(entries.into_iter().map(|(_, entry)| entry.path).collect())
    }

    /// Where a program for the host is that this artifact has; got where it is not in the cache, and only then anything is
    /// said.
    pub async fn tool(&self, artifact: &str, program: &str, way: &Way, progress: &Progress) -> Result<PathBuf> {
        let artifact = catalog::CATALOG.artifact(artifact)?;
        let slot = self.cache.slot(cache::Kind::Artifact, artifact.entry_name()?);
        let directory = match slot.open(false)? {
            cache::Found::Entry(entry) => entry.path,
            _ => self.fetch(&[artifact.name().to_owned()], way, progress).await?.remove(0),
        };
        Ok(directory.join("bin").join(program))
    }

    /// Writes all that is wanted into one file, for [`Way::Bundle`] on another machine. Returns its size in bytes.
    pub async fn bundle_create(&self, path: &Path, want: &Want, progress: &Progress) -> Result<u64> {
        let plan = compose::Plan::new(&self.cache, want)?;
        let step = progress.step("bundle", format!("A bundle of Kubernetes {}", plan.kubernetes));
        let _lease = self.lease(&step).await?;
        let run = get::Run { artifacts: self, way: &want.way, progress, step: &step };
        let mut wanted: Vec<_> = plan.artifacts.iter().map(|(artifact, _)| artifact.clone()).collect();
        wanted.extend(get::sources(&plan.images)?);
        let (entries, _) = run.artifacts(wanted).await?;
        let (to, kubernetes) = (path.to_owned(), plan.kubernetes);
        let job = job::Job::new(progress, &step, "writing", &path.display().to_string(), 1, 1);
        let writing = job::blocking(move || bundle::write(&to, &kubernetes, &entries));
        let size = job.ticking(writing).await?;
        step.finish(format!("{} is written, {} MiB", path.display(), size >> 20));
        Ok(size)
    }

    async fn lease(&self, step: &Step) -> Result<Lock> {
        let path = self.lease_path();
        let waiting = |holder: &str| step.message(format!("waiting for {holder}, which cleans up"));
        Lock::shared(&path, waiting).await.map_err(|error| cache::trouble("lock", &path, error))
    }

    /// Shared by those who use the cache, exclusive for who cleans it.
    fn lease_path(&self) -> PathBuf {
        self.cache.root().join("locks/cache.lock")
    }
}
