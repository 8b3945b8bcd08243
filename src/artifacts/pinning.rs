//! The work of `make pins`: digests of the projects' releases, as they are published and as they are found.

use super::catalog::{Artifact, CATALOG, Catalog};
use super::handle::Artifacts;
use super::http::{Failure, Http};
use super::job::Job;
use super::pins::{PINS, Pins};
use super::release;
use crate::error::{Error, Id, Result};
use crate::progress::Progress;

/// The architectures whose releases are pinned, as Go names them.
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// Returns all artifacts that projects release, in all versions and for all architectures.
fn released(catalog: &Catalog) -> Vec<Artifact> {
    let bases = catalog.artifacts.iter().filter(|artifact| {
        let release = artifact.release.as_ref();
        release.is_some_and(|release| release.base.is_some())
    });
    let versions = bases.flat_map(|definition| catalog.versions(definition));
    versions.flat_map(|artifact| ARCHITECTURES.map(|arch| Artifact { arch, ..artifact.clone() })).collect()
}

impl Artifacts {
    /// Returns the pins of the catalog. Of the artifacts called `names`, or of all if there are none, files without a pin are
    /// downloaded from the projects or their mirror, and compared with the published checksums.
    ///
    /// # Errors
    /// `Artifact` if a file is missing, is not what was published, or was published with another digest than the pinned.
    pub async fn pins(&self, names: &[String], progress: &Progress) -> Result<Pins> {
        let chosen = |artifact: &Artifact| names.is_empty() || names.iter().any(|name| name == artifact.name());
        let (wanted, others): (Vec<_>, Vec<_>) = released(&CATALOG).into_iter().partition(chosen);
        if let Some(name) = names.iter().find(|name| !wanted.iter().any(|artifact| artifact.name() == *name)) {
            return Err(Error::new(Id::ArtifactUnknown, format!("{name:?} is no artifact that its project releases")));
        }
        let step = progress.step("pins", "Digests of releases");
        let _lease = self.lease(&step).await?;
        let http = Http::new(&self.options, false)?;
        let downloads = self.cache.root().join("downloads");
        let kept = others.iter().flat_map(release::paths).filter_map(|path| Some((PINS.of(&path)?.to_owned(), path)));
        let mut pins = Pins { sha256: kept.map(|(digest, path)| (path, digest)).collect() };
        for (index, artifact) in wanted.iter().enumerate() {
            let title = format!("{} for {}", artifact.title(), artifact.arch);
            let job = Job::new(progress, &step, "downloading", &title, index + 1, wanted.len());
            let source = release::source(artifact, self.options.mirror.as_deref()).expect("it is released");
            let found = release::digests(artifact, source, &PINS, &http, &downloads, &job).await.map_err(refused)?;
            pins.sha256.extend(found);
        }
        step.finish(format!("{} digests", pins.sha256.len()));
        Ok(pins)
    }
}

fn refused(failure: Failure) -> Error {
    match failure {
        Failure::Error(error) => error,
        Failure::Unreachable(why) | Failure::Absent(why) => {
            Error::new(Id::ArtifactDownload, format!("a release could not be downloaded: {why}"))
                .hint("behind a proxy, set HTTPS_PROXY; name a mirror with --binary-mirror")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pin_is_a_digest_of_a_file_of_the_catalog() {
        let files: Vec<String> = released(&CATALOG).iter().flat_map(release::paths).collect();
        for (path, digest) in &PINS.sha256 {
            assert!(files.contains(path), "{path} is not in the catalog: run `make pins`");
            assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{path}");
        }
    }
}
