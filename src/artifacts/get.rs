//! Getting what is not in the cache: one artifact after the other, each by the first way that leads to it.

use std::time::Instant;

use super::cache::{Entry, Found, Kind, Manifest, Slot, trouble};
use super::catalog::{Artifact, CATALOG};
use super::compose::{self, Plan};
use super::job::{Job, blocking};
use super::lock::{self, Lock};
use super::oci::{self, Image};
use super::{Artifacts, NodeArtifacts, Way, build, store, tree};
use crate::error::{Error, Family, Result};
use crate::progress::{Progress, Step};

/// One `ensure`.
pub struct Run<'a> {
    pub artifacts: &'a Artifacts,
    pub way: &'a Way,
    pub progress: &'a Progress,
    pub step: &'a Step,
}

impl Run<'_> {
    /// All that a plan asks for, and how many entries had to be made.
    pub async fn all(&self, plan: Plan, lease: Lock) -> Result<(NodeArtifacts, usize)> {
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

    /// Entries for artifacts, in order and without repetition, and how many had to be got.
    pub async fn artifacts(&self, mut wanted: Vec<Artifact>) -> Result<(Vec<(Artifact, Entry)>, usize)> {
        let mut names = std::collections::HashSet::new();
        wanted.retain(|artifact| names.insert((artifact.name().to_owned(), artifact.version.clone())));
        let mut found = Vec::new();
        for artifact in &wanted {
            let slot = self.slot(artifact)?;
            found.push((slot.clone(), self.look(&slot).await?));
        }
        let missing: Vec<_> =
            wanted.iter().zip(&found).filter(|(_, (_, entry))| entry.is_none()).map(|(artifact, _)| artifact).collect();
        if *self.way == Way::Build {
            build::check(&missing).await?;
        }
        let (mut number, total) = (0, missing.len());
        let mut entries = Vec::new();
        for (artifact, (slot, entry)) in wanted.into_iter().zip(found) {
            let entry = match entry {
                Some(entry) => entry,
                None => {
                    number += 1;
                    self.get(&artifact, &slot, number, total).await?
                }
            };
            entries.push((artifact, entry));
        }
        Ok((entries, total))
    }

    fn slot(&self, artifact: &Artifact) -> Result<Slot> {
        Ok(self.artifacts.cache.slot(Kind::Artifact, artifact.entry_name()?))
    }

    /// A whole entry, or none. One that is damaged is told about and not used.
    async fn look(&self, slot: &Slot) -> Result<Option<Entry>> {
        let place = slot.clone();
        match blocking(move || place.open(false)).await? {
            Found::Entry(entry) => Ok(Some(*entry)),
            Found::Nothing => Ok(None),
            Found::Corrupt(why) => {
                self.progress.warn(format!("{} in the cache is corrupt: {why}. It is made again.", slot.name));
                Ok(None)
            }
        }
    }

    async fn lock(&self, slot: &Slot, title: &str) -> Result<Lock> {
        lock::exclusive(&slot.lock_path(), |holder| {
            self.step.message(format!("waiting for {holder}, which is getting {title}"));
        })
        .await
    }

    /// Gets one artifact.
    async fn get(&self, artifact: &Artifact, slot: &Slot, number: usize, total: usize) -> Result<Entry> {
        let title = artifact.title();
        let _lock = self.lock(slot, &title).await?;
        // Who held the lock until now may have made it.
        if let Found::Entry(entry) = slot.open(false)? {
            return Ok(*entry);
        }
        let begun = Instant::now();
        let (way, origin) = match self.way {
            Way::Build => {
                let job = Job::new(self.progress, self.step, "building", &title, number, total);
                let partial = slot.begin()?;
                ("build", build::build(artifact, &partial, &self.artifacts.cache.root().join("logs"), &job).await?)
            }
            _ => return Err(Error::new(Family::Artifact, "no such way yet")),
        };
        self.finish(
            artifact,
            slot,
            Manifest { title, way: way.into(), origin, seconds: begun.elapsed().as_secs_f64(), ..Manifest::default() },
        )
        .await
    }

    /// Unpacks, checks and commits what a way has put into the slot's partial directory.
    pub async fn finish(&self, artifact: &Artifact, slot: &Slot, manifest: Manifest) -> Result<Entry> {
        let (artifact, slot) = (artifact.clone(), slot.clone());
        blocking(move || {
            let partial = slot.partial();
            for name in &artifact.definition.provides {
                if !partial.join(name).exists() {
                    let message = format!("{} was got ({}) but {name} is not in it", manifest.title, manifest.way);
                    return Err(Error::new(Family::Artifact, message));
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

    /// Makes an image store.
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

    /// Makes the composed tree.
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

/// The artifacts that images are made of.
fn sources(images: &[Image]) -> Result<Vec<Artifact>> {
    let sources: Result<Vec<_>> = images.iter().map(Image::artifacts).collect();
    Ok(sources?.into_iter().flatten().collect())
}
