//! The choice of an image for the nodes' platform among the entries of indexes.

use std::collections::BTreeSet;

use super::files::Files;
use super::manifest::{Described, Index, Manifest, Read, blob, checked, path};
use crate::error::{Error, Id, Result};
use crate::images::config::{ImageConfig, Platform};
use crate::images::image::{Blob, for_nodes};

/// The number of indexes that may lie in one another. An image has one, and tools that copy images add another.
pub(super) const DEPTH: usize = 4;

/// The annotation of what belongs to an image without being one, such as attestations (BuildKit,
/// `attestation-storage.md`).
const REFERENCE: &str = "vnd.docker.reference.type";

/// The manifest of an image.
pub(super) struct Candidate {
    /// The manifest that was read.
    pub manifest: Manifest,
    /// The bytes of the manifest.
    pub blob: Blob,
    platform: Platform,
}

/// The images of entries that have the same name, or that have none.
#[derive(Default)]
pub(super) struct Group {
    /// The full name.
    pub name: Option<String>,
    found: Vec<Candidate>,
    /// The platforms of images that do not run on the nodes.
    foreign: BTreeSet<String>,
    /// The number of artifacts that are no images.
    artifacts: usize,
    /// The error that an image of the nodes' platform is not in the layout.
    absent: Option<Error>,
}

impl Group {
    /// Creates a group without entries.
    pub(super) fn new(name: Option<String>) -> Self {
        Group { name, ..Group::default() }
    }

    /// Adds the images of an entry of `index.json`. What does not run on the nodes need not be in the layout.
    pub(super) fn add(&mut self, files: &Files, entry: &Described) -> Result<()> {
        // An index may name another one many times.
        self.collect(files, entry, 0, &mut BTreeSet::new())
    }

    fn collect(&mut self, files: &Files, entry: &Described, depth: usize, seen: &mut BTreeSet<String>) -> Result<()> {
        if !is_image(entry) || !seen.insert(entry.digest.clone()) {
            return Ok(());
        }
        if let Some(platform) = entry.platform.as_ref().filter(|platform| !platform.fits()) {
            self.foreign.insert(platform.to_string());
            return Ok(());
        }
        // Docker saves the index of all platforms also if it has pulled the image of one only.
        if depth > 0 && !files.has(&path(&entry.digest)?) {
            self.absent = self.absent.take().or(blob(files, entry).err());
            return Ok(());
        }
        match blob(files, entry)? {
            (Read::Index(_), _) if depth == DEPTH => {
                let message = format!("{} has more than {DEPTH} indexes in one another", files.name);
                Err(Error::new(Id::ImageDamaged, message).hint("an image has one; save it again"))
            }
            (Read::Index(index), _) => {
                index.manifests.iter().try_for_each(|entry| self.collect(files, entry, depth + 1, seen))
            }
            (Read::Manifest(manifest), _) if !manifest.is_image() => {
                self.artifacts += 1;
                Ok(())
            }
            (Read::Manifest(manifest), blob) => {
                let platform = match &entry.platform {
                    Some(platform) => platform.clone(),
                    None => config(files, &manifest)?.platform().clone(),
                };
                match platform.fits() {
                    true => self.found.push(Candidate { manifest, blob, platform }),
                    false => drop(self.foreign.insert(platform.to_string())),
                }
                Ok(())
            }
        }
    }

    /// Returns the images to load: one for a name, as some processors have a variant of their own.
    ///
    /// # Errors
    /// `Artifact` if the name has images for other platforms only.
    pub(super) fn choose(&mut self, files: &Files) -> Result<Vec<Candidate>> {
        let mut found = std::mem::take(&mut self.found);
        if found.is_empty() && self.name.is_some() {
            return self.missing(files).map_or(Ok(found), Err);
        }
        if found.iter().any(|one| one.platform.is_common()) {
            found.retain(|one| one.platform.is_common());
        }
        if self.name.is_some() {
            found.truncate(1);
        }
        Ok(found)
    }

    /// Returns the reason why there is no image for the nodes, if there is anything that could be one.
    pub(super) fn missing(&mut self, files: &Files) -> Option<Error> {
        if !self.foreign.is_empty() {
            let name =
                self.name.as_ref().map_or_else(|| files.name.clone(), |name| format!("{name} in {}", files.name));
            let has: Vec<&str> = self.foreign.iter().map(String::as_str).collect();
            let message = format!("{name} has no image for {}: it has {}", Platform::of_nodes(), has.join(", "));
            return Some(Error::new(Id::ImageForeign, message).hint(for_nodes()));
        }
        if self.artifacts > 0 {
            let message =
                format!("{} has artifacts of other kinds than images, such as charts or signatures", files.name);
            return Some(Error::new(Id::ImageForeign, message));
        }
        self.absent.take()
    }
}

fn config(files: &Files, manifest: &Manifest) -> Result<ImageConfig> {
    ImageConfig::parse(&checked(files, manifest.config())?).map_err(|error| {
        let message = format!("the config {} in {} is damaged: {error}", manifest.config(), files.name);
        Error::new(Id::ImageDamaged, message)
    })
}

/// Returns false for attestations and others that refer to an image.
fn is_image(entry: &Described) -> bool {
    !entry.annotations.contains_key(REFERENCE) && !entry.platform.as_ref().is_some_and(Platform::is_unknown)
}

/// Returns the entry of an index that runs on the nodes.
pub(super) fn entry(index: &Index) -> Option<&Described> {
    let fits = |one: &&Described| is_image(one) && one.platform.as_ref().is_none_or(Platform::fits);
    let is_common = |one: &&Described| one.platform.as_ref().is_none_or(Platform::is_common);
    let fitting = || index.manifests.iter().filter(fits);
    fitting().find(is_common).or_else(|| fitting().next())
}
