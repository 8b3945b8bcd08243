//! The operations that put artifacts into the cache and return them.

use std::path::{Path, PathBuf};

use kcl_files::Lock;

use super::handle::Artifacts;
use super::want::{ImageArchive, NodeArtifacts, Want, Way};
use super::{bundle, cache, catalog, compose, get, job, oci};
use crate::digest;
use crate::error::Result;
use crate::progress::Progress;
use crate::task::blocking;

impl Artifacts {
    /// Returns the requested artifacts if all of them are in the cache. Fetches and builds nothing.
    pub fn cached(&self, want: &Want) -> Option<NodeArtifacts> {
        let lease = match Lock::try_shared(&self.lease_path()) {
            Ok(Ok(lease)) => lease,
            Ok(Err(_)) | Err(_) => return None,
        };
        compose::Plan::new(&self.cache, want).and_then(|plan| plan.cached(lease)).ok().flatten()
    }

    /// Returns the requested artifacts; fetches or builds those that are not in the cache. If the future is dropped, no
    /// process and no partial entry remains.
    ///
    /// # Errors
    /// `Usage` for an unknown version or image, `Host` if the host lacks tools for a build, `Artifact` if an artifact
    /// is unavailable.
    pub async fn ensure(&self, want: &Want, progress: &Progress) -> Result<NodeArtifacts> {
        let plan = compose::Plan::new(&self.cache, want)?;
        let step = progress.step("artifacts", format!("Kubernetes {} and what it needs", plan.kubernetes));
        let lease = self.lease(&step).await?;
        let run = get::Run { artifacts: self, way: &want.way, progress, step: &step };
        let (found, made) = run.all(plan, lease).await?;
        step.finish(match made {
            0 => format!("Kubernetes {} is in the cache", found.kubernetes),
            _ => format!("Kubernetes {} and what it needs are ready ({made} new)", found.kubernetes),
        });
        Ok(found)
    }

    /// Returns images of the catalog, by name, as archives that `ctr images import` accepts, for nodes that are
    /// running.
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
        let count = archives.len();
        step.finish(if count == 1 { "1 image is ready".to_owned() } else { format!("{count} images are ready") });
        Ok(archives)
    }

    /// Returns the paths of single artifacts of the catalog, by name, each in its default version.
    pub async fn fetch(&self, names: &[String], way: &Way, progress: &Progress) -> Result<Vec<PathBuf>> {
        let wanted: Result<Vec<_>> = names.iter().map(|name| catalog::CATALOG.artifact(name)).collect();
        let wanted = wanted?;
        let step = progress.step("artifacts", names.join(", "));
        let _lease = self.lease(&step).await?;
        let run = get::Run { artifacts: self, way, progress, step: &step };
        let (entries, got) = run.artifacts(wanted).await?;
        step.finish(format!("{} ({got} new)", names.join(", ")));
        Ok(entries.into_iter().map(|(_, entry)| entry.path).collect())
    }

    /// Returns the path of a program for the host. Its artifact is fetched if it is not in the cache; only then
    /// progress is reported.
    pub async fn tool(&self, artifact: &str, program: &str, way: &Way, progress: &Progress) -> Result<PathBuf> {
        let artifact = catalog::CATALOG.artifact(artifact)?;
        let slot = self.cache.slot(cache::Kind::Artifact, artifact.entry_name()?);
        let directory = match slot.open(false)? {
            cache::Found::Entry(entry) => entry.path,
            _ => self.fetch(&[artifact.name().to_owned()], way, progress).await?.remove(0),
        };
        Ok(directory.join("bin").join(program))
    }

    /// Writes the requested artifacts into one file, for [`Way::Bundle`] on another machine. Returns its size in bytes.
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
        let writing = blocking(move || {
            let size = bundle::write(&to, &kubernetes, &entries)?;
            Ok((size, digest::of_file(&to).map_err(|error| cache::trouble("read", &to, error))?))
        });
        let (size, digest) = job.ticking(writing).await?;
        step.finish(format!("{} is written, {} MiB, sha256:{digest}", path.display(), size >> 20));
        Ok(size)
    }
}
