//! Adds missing artifacts to the cache, one after the other, each from the first source that has it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use kcl_files::Lock;

use super::cache::{Entry, Found, Kind, Manifest, Slot, trouble};
use super::catalog::{Artifact, CATALOG};
use super::compose::{self, Plan};
use super::handle::Artifacts;
use super::http::{Failure, Http};
use super::job::Job;
use super::kubernetes::other_versions;
use super::oci::{self, Image};
use super::pins::PINS;
use super::want::{NodeArtifacts, Way};
use super::{build, bundle, release, store, tree};
use crate::error::{Error, Id, Result};
use crate::progress::{Progress, Step};
use crate::task::blocking;

/// The context of one operation that may add entries.
pub(super) struct Run<'a> {
    pub artifacts: &'a Artifacts,
    pub way: &'a Way,
    pub progress: &'a Progress,
    pub step: &'a Step,
}

impl Run<'_> {
    /// Returns all artifacts of a plan, and the number of entries that were added.
    pub(super) async fn all(&self, plan: Plan, lease: Lock) -> Result<(NodeArtifacts, usize)> {
        let store = self.look(&plan.store).await?;
        let mut wanted: Vec<_> = plan.artifacts.iter().map(|(artifact, _)| artifact.clone()).collect();
        if store.is_none() {
            wanted.extend(sources(&plan.images)?);
        }
        let (entries, mut made) = self.artifacts(wanted).await?;
        let store = match store {
            Some(store) => store,
            None => {
                made += 1;
                self.store(&plan.store, &plan.images, &entries).await?
            }
        };
        let node = match self.look(&plan.node).await? {
            Some(node) => node,
            None => self.node(&plan, &entries).await?,
        };
        let entries: Vec<_> = entries.into_iter().take(plan.artifacts.len()).map(|(_, entry)| entry).collect();
        Ok((plan.result(&entries, &node, &store, lease), made))
    }

    /// Returns the entries of artifacts, in order and without duplicates, and the number of those that were added.
    pub(super) async fn artifacts(&self, mut wanted: Vec<Artifact>) -> Result<(Vec<(Artifact, Entry)>, usize)> {
        let mut names = std::collections::HashSet::new();
        wanted.retain(|artifact| names.insert((artifact.name().to_owned(), artifact.version.clone())));
        let mut found = Vec::new();
        for artifact in &wanted {
            let slot = self.slot(artifact)?;
            found.push((slot.clone(), self.look(&slot).await?));
        }
        let missing: Vec<_> =
            wanted.iter().zip(&found).filter(|(_, (_, entry))| entry.is_none()).map(|(artifact, _)| artifact).collect();
        let total = missing.len();
        if let (Way::Bundle(path), true) = (self.way, total > 0) {
            self.unbundle(path, &missing).await?;
        }
        let mut rest = missing.as_slice();
        let mut entries = Vec::new();
        for (artifact, (slot, entry)) in wanted.iter().zip(found) {
            let entry = match entry {
                Some(entry) => entry,
                None => {
                    let got = self.get(artifact, &slot, rest, total).await;
                    rest = &rest[1..];
                    got.inspect_err(|_| self.tell_unpinned())?
                }
            };
            entries.push((artifact.clone(), entry));
        }
        self.tell_unpinned();
        Ok((entries, total))
    }

    /// Reports releases that were checked against nothing but what lies beside them.
    fn tell_unpinned(&self) {
        let names = std::mem::take(&mut *self.artifacts.unpinned.lock().expect("nobody panics with it")).join(", ");
        match &self.artifacts.options.mirror {
            _ if names.is_empty() => {}
            Some(mirror) => self.progress.warn(format!(
                "this kcl has no digests of {names}: {mirror} served both the files and their checksums, so it is trusted"
            )),
            None => self.progress.info(format!(
                "This kcl has no digests of {names}: they were checked against the checksums that their projects publish."
            )),
        }
    }

    fn slot(&self, artifact: &Artifact) -> Result<Slot> {
        Ok(self.artifacts.cache.slot(Kind::Artifact, artifact.entry_name()?))
    }

    /// Returns the entry in a slot, if it is complete. Warns about a damaged entry.
    async fn look(&self, slot: &Slot) -> Result<Option<Entry>> {
        let place = slot.clone();
        match blocking(move || place.open(false)).await? {
            Found::Entry(entry) => Ok(Some(*entry)),
            Found::Nothing => Ok(None),
            Found::Corrupt(why) => {
                self.progress.warn(format!("{} in the cache is corrupt: {why}. It is recreated.", slot.name));
                Ok(None)
            }
        }
    }

    async fn lock(&self, slot: &Slot, title: &str) -> Result<Lock> {
        let path = slot.lock_path();
        let waiting = |holder: &str| self.step.message(format!("waiting for {holder}, which is getting {title}"));
        Lock::exclusive(&path, waiting).await.map_err(|error| trouble("lock", &path, error))
    }

    /// Adds the first of `rest`, the artifacts that are missing of `total`.
    async fn get(&self, artifact: &Artifact, slot: &Slot, rest: &[&Artifact], total: usize) -> Result<Entry> {
        let title = artifact.title();
        let _lock = self.lock(slot, &title).await?;
        // The previous holder of the lock may have added it.
        if let Found::Entry(entry) = slot.open(false)? {
            return Ok(*entry);
        }
        let entry = self.provide(artifact, slot, rest, total).await;
        if entry.is_err() {
            slot.abandon()?;
        }
        entry
    }

    /// Adds an artifact from the first source that has it.
    async fn provide(&self, artifact: &Artifact, slot: &Slot, rest: &[&Artifact], total: usize) -> Result<Entry> {
        let title = artifact.title();
        let begun = Instant::now();
        let job = |verb| Job::new(self.progress, self.step, verb, &title, total - rest.len() + 1, total);
        let released = self.release(artifact, slot, &job).await?;
        let (way, origin) = match released {
            Ok(origin) => ("release", origin),
            Err(why) => {
                // All builds are checked now, as an error after ten minutes would come too late.
                build::check(rest).await.map_err(|error| nowhere(artifact, why, error))?;
                let partial = slot.begin()?;
                let logs = self.artifacts.cache.root().join("logs");
                ("build", build::build(artifact, &partial, &logs, &job("building")).await?)
            }
        };
        let seconds = begun.elapsed().as_secs_f64();
        let manifest = Manifest { title, way: way.into(), origin, seconds, ..Manifest::default() };
        self.finish(artifact, slot, manifest).await
    }

    /// Downloads an artifact, or returns the reason why it has to be built; none if the user asked for a build.
    async fn release<'a>(
        &'a self,
        artifact: &Artifact,
        slot: &Slot,
        job: &impl Fn(&'static str) -> Job<'a>,
    ) -> Result<std::result::Result<Vec<String>, Option<String>>> {
        let source = release::source(artifact, self.artifacts.options.mirror.as_deref());
        let (Some(source), Way::Auto | Way::Release) = (source, self.way) else {
            return Ok(Err(None));
        };
        let auto = *self.way == Way::Auto;
        let unreachable = &self.artifacts.unreachable;
        if let Some(why) = unreachable.lock().expect("nobody panics with it").clone().filter(|_| auto) {
            return Ok(Err(Some(why)));
        }
        let http = Http::new(&self.artifacts.options, auto)?;
        let partial = slot.begin()?;
        let downloads = self.artifacts.cache.root().join("downloads");
        let job = job("downloading");
        let why = match release::fetch(artifact, source, &http, &partial, &downloads, &job).await {
            Ok(fetched) => {
                if !fetched.pinned {
                    self.artifacts.unpinned.lock().expect("nobody panics with it").push(artifact.title());
                }
                return Ok(Ok(fetched.origin));
            }
            Err(Failure::Error(error)) => return Err(error),
            Err(Failure::Unreachable(why)) => {
                if auto {
                    *unreachable.lock().expect("nobody panics with it") = Some(why.clone());
                    self.progress.info(format!("Releases are unreachable ({why}). Missing artifacts are built."));
                }
                why
            }
            Err(Failure::Absent(why)) => {
                if auto {
                    self.progress.info(format!("{} has no release there ({why}). It is built.", artifact.title()));
                }
                why
            }
        };
        if auto {
            return Ok(Err(Some(why)));
        }
        let mut error =
            Error::new(Id::ArtifactDownload, format!("{} could not be downloaded: {why}", artifact.title()));
        if artifact.definition.others.is_some() {
            error = error
                .hint(format!("it may not exist: `kcl version` lists what does, and there are {}", other_versions()));
        }
        Err(error.hint("behind a proxy, set HTTPS_PROXY (and --ca-file if it has its own authority)").hint(
            "or name a mirror with --binary-mirror, build instead with --from build, or use a bundle with --bundle",
        ))
    }

    /// Adds the missing artifacts from a bundle.
    async fn unbundle(&self, path: &Path, missing: &[&Artifact]) -> Result<()> {
        let begun = Instant::now();
        let job = Job::new(self.progress, self.step, "unpacking", &path.display().to_string(), 1, 1);
        let file = path.to_owned();
        let index = blocking(move || bundle::index(&file)).await?;
        for artifact in missing {
            let Some(known) = index.entries.get(&self.slot(artifact)?.name).filter(|known| known.way == "release")
            else {
                continue;
            };
            let digest_of = |file: &str| known.files.get(file).map(|record| record.sha256.clone());
            if let Some((file, pinned)) = release::contradiction(artifact, &PINS, digest_of) {
                return Err(Error::new(
                    Id::ArtifactDigest,
                    format!(
                        "{}: {file} of {} is not what was published: expected sha256:{pinned}",
                        path.display(),
                        artifact.title()
                    ),
                )
                .hint("nothing of the bundle was used; make another one with `kcl bundle create`"));
            }
        }
        let mut slots = BTreeMap::new();
        let mut locks = Vec::new();
        let mut taken = Vec::new();
        // Locks are always taken in the order of names.
        let mut sorted = missing.to_vec();
        sorted.sort_by_key(|artifact| (artifact.name().to_owned(), artifact.version.clone()));
        for artifact in sorted {
            let slot = self.slot(artifact)?;
            if !index.entries.contains_key(&slot.name) {
                let message = format!("{} has no {} for this kcl", path.display(), artifact.title());
                return Err(Error::new(Id::BundleIncomplete, message).hint(format!(
                    "it was made by kcl {} with Kubernetes {} for {}; this is kcl {} and needs {}",
                    index.kcl,
                    index.kubernetes,
                    index.arch,
                    env!("CARGO_PKG_VERSION"),
                    slot.name
                )));
            }
            locks.push(self.lock(&slot, &artifact.title()).await?);
            if matches!(slot.open(false)?, Found::Entry(_)) {
                continue;
            }
            slots.insert(slot.name.clone(), slot.clone());
            taken.push((artifact, slot));
        }
        let (file, places, contents) = (path.to_owned(), slots, index.clone());
        let unpacking = blocking(move || bundle::unpack(&file, &contents, &places));
        job.ticking(unpacking).await?;
        for (artifact, slot) in taken {
            let known = &index.entries[&slot.name];
            let manifest = Manifest {
                title: known.title.clone(),
                way: "bundle".into(),
                origin: vec![path.display().to_string(), format!("made by {}", known.way)],
                seconds: begun.elapsed().as_secs_f64(),
                ..Manifest::default()
            };
            self.finish(artifact, &slot, manifest).await?;
        }
        drop(locks);
        Ok(())
    }

    /// Returns an image as an archive that `ctr images import` accepts.
    pub(super) async fn image(&self, image: &Image) -> Result<Entry> {
        let slot = self.artifacts.cache.slot(Kind::Image, image.entry_name()?);
        if let Some(entry) = self.look(&slot).await? {
            return Ok(entry);
        }
        let (entries, _) = self.artifacts(image.artifacts()?).await?;
        let _lock = self.lock(&slot, &image.reference).await?;
        if let Found::Entry(entry) = slot.open(false)? {
            return Ok(*entry);
        }
        let begun = Instant::now();
        let image = image.clone();
        let parts = entries.iter().map(|(artifact, _)| Ok(self.slot(artifact)?.part())).collect::<Result<_>>()?;
        blocking(move || {
            let archive = slot.begin()?.join(IMAGE);
            let digests = oci::write(std::slice::from_ref(&image), &compose::directories(&entries), &archive)?;
            let manifest = Manifest {
                title: image.reference.clone(),
                way: "assembled".into(),
                origin: digests,
                seconds: begun.elapsed().as_secs_f64(),
                parts,
                ..Manifest::default()
            };
            slot.commit(manifest, &[], &[])
        })
        .await
    }

    /// Unpacks, checks and commits the contents of the slot's partial directory.
    pub(super) async fn finish(&self, artifact: &Artifact, slot: &Slot, manifest: Manifest) -> Result<Entry> {
        let (artifact, slot) = (artifact.clone(), slot.clone());
        blocking(move || {
            let partial = slot.partial();
            for name in &artifact.definition.provides {
                if !partial.join(name).exists() {
                    let message =
                        format!("{} was obtained ({}), but {name} is missing in it", manifest.title, manifest.way);
                    return Err(Error::new(Id::ArtifactIncomplete, message));
                }
            }
            for (archive, directory) in &artifact.definition.unpack {
                let archive = partial.join(archive);
                tree::unpack(&archive, &partial.join(directory)).map_err(|error| trouble("unpack", &archive, error))?;
            }
            let trees: Vec<_> = artifact.definition.unpack.values().cloned().collect();
            slot.commit(manifest, &trees, &[])
        })
        .await
    }

    /// Creates an image store.
    async fn store(&self, slot: &Slot, images: &[Image], entries: &[(Artifact, Entry)]) -> Result<Entry> {
        let title = "the system images";
        let _lock = self.lock(slot, title).await?;
        if let Found::Entry(entry) = slot.open(false)? {
            return Ok(*entry);
        }
        let begun = Instant::now();
        let job = Job::new(self.progress, self.step, "unpacking", title, 1, 1);
        let partial = slot.begin()?;
        let directories = compose::directories(entries);
        let archive = partial.join(".images.tar");
        let digests = blocking({
            let (images, directories, archive) = (images.to_vec(), directories.clone(), archive.clone());
            move || oci::write(&images, &directories, &archive)
        })
        .await?;
        let bin = directories["containerd"].join("bin");
        let logs = self.artifacts.cache.root().join("logs");
        job.ticking(store::make(&bin, images, &archive, &partial, &logs, &job)).await?;
        std::fs::remove_file(&archive).map_err(|error| trouble("remove", &archive, error))?;
        let origin = images.iter().zip(digests).map(|(image, digest)| format!("{}@{digest}", image.reference));
        let mut parts = sources(images)?;
        parts.push(CATALOG.artifact("containerd")?);
        let manifest = Manifest {
            title: "system images".into(),
            way: "assembled".into(),
            origin: origin.collect(),
            seconds: begun.elapsed().as_secs_f64(),
            parts: parts.iter().map(|artifact| Ok(self.slot(artifact)?.part())).collect::<Result<_>>()?,
            ..Manifest::default()
        };
        let slot = slot.clone();
        blocking(move || slot.commit(manifest, &[store::ROOT.to_owned()], &[])).await
    }

    /// Creates the composed tree.
    async fn node(&self, plan: &Plan, entries: &[(Artifact, Entry)]) -> Result<Entry> {
        let title = format!("the tree of a node with Kubernetes {}", plan.kubernetes);
        let _lock = self.lock(&plan.node, &title).await?;
        if let Found::Entry(entry) = plan.node.open(false)? {
            return Ok(*entry);
        }
        let mut parts: Vec<_> = plan.artifacts.iter().map(|(_, slot)| slot.part()).collect();
        parts.push(plan.store.part());
        let (slot, entries) = (plan.node.clone(), entries[..plan.artifacts.len()].to_vec());
        let title = format!("node of Kubernetes {}", plan.kubernetes);
        blocking(move || compose::node(&slot, &title, &entries, parts)).await
    }
}

/// The name of the archive in the entry of an image.
pub(super) const IMAGE: &str = "image.tar";

/// Returns the error for an artifact that can be neither downloaded nor built.
fn nowhere(artifact: &Artifact, why: Option<String>, build: Error) -> Error {
    let Some(why) = why else { return build };
    let mut error = Error::new(
        Id::ArtifactUnavailable,
        format!("{} can neither be downloaded ({why}) nor built ({})", artifact.title(), build.message),
    );
    error.hints = build.hints;
    error
        .hint("or give kcl access to the releases: HTTPS_PROXY, --ca-file, --binary-mirror")
        .hint("or use a file that `kcl bundle create` made on another machine: --bundle FILE")
}

/// Returns the artifacts that images are made of.
pub(super) fn sources(images: &[Image]) -> Result<Vec<Artifact>> {
    let sources: Result<Vec<_>> = images.iter().map(Image::artifacts).collect();
    Ok(sources?.into_iter().flatten().collect())
}
