//! Lists, verifies and cleans the cache.

use std::collections::BTreeSet;

use kcl_files::Lock;
use serde::Serialize;

use super::cache::{Entry, Found, Kind, Slot, remove, trouble};
use super::catalog::{Artifact, CATALOG};
use super::handle::Artifacts;
use super::want::{VM_IMAGES, Want};
use super::{compose, oci, release};
use crate::error::{Error, Id, Result};

/// An artifact of the catalog, or an entry of the cache, for a table or as JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its kind: `artifacts`, `nodes`, `image-stores`, `images`.
    pub kind: &'static str,
    /// Its name: the artifact's, or the entry's.
    pub name: String,
    /// The artifact's version.
    pub version: Option<String>,
    /// The sources that have it.
    pub ways: Vec<&'static str>,
    /// True if it is in the cache.
    pub cached: bool,
    /// True if this kcl would use it; other entries are left from another version.
    pub current: bool,
    /// The reason why the cached entry is unusable.
    pub corrupt: Option<String>,
    /// Its size on disk in bytes. Files that entries share by hard links count in each.
    pub size: u64,
    /// Its source: `build`, `release`, `bundle` or `assembled`.
    pub got: Option<String>,
    /// The time when it was made, as in RFC 3339.
    pub made_at: Option<String>,
    /// Its path, which may not exist.
    pub path: std::path::PathBuf,
}

/// The extent of a cleanup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clean {
    /// Removes the entries that neither a cluster nor this kcl uses.
    Unused,
    /// Removes all entries that no cluster uses.
    All,
    /// Removes all entries. Clusters keep running, but their nodes cannot be started again as they are.
    Forced,
}

/// The result of a cleanup.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cleaned {
    /// The entries that were removed: `<kind>/<name>`.
    pub removed: Vec<String>,
    /// The entries that were kept because clusters use them.
    pub in_use: Vec<String>,
    /// The size of the removed entries in bytes; files that clusters share become free when these are deleted.
    pub bytes: u64,
}

impl Artifacts {
    /// Lists the catalog, and the other entries of the cache.
    pub fn list(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut current = BTreeSet::new();
        for artifact in catalog() {
            let slot = self.cache.slot(Kind::Artifact, artifact.entry_name()?);
            current.insert(slot.part());
            let mut ways = Vec::new();
            if release::source(&artifact, self.options.mirror.as_deref()).is_some() {
                ways.push("release");
            }
            if artifact.definition.build.is_some() {
                ways.push("build");
            }
            let row = row(&slot, true)?;
            rows.push(Row { name: artifact.name().into(), version: Some(artifact.version), ways, ..row });
        }
        for kind in Kind::ALL {
            for slot in self.cache.slots(kind)? {
                if !current.contains(&slot.part()) {
                    rows.push(row(&slot, kind != Kind::Artifact)?);
                }
            }
        }
        Ok(rows)
    }

    /// Reads all entries and compares digests. Returns the names of damaged entries, and the reasons. They are put
    /// aside, and made again when they are next needed.
    pub fn verify(&self) -> Result<Vec<(String, String)>> {
        let mut damaged = Vec::new();
        for kind in Kind::ALL {
            for slot in self.cache.slots(kind)? {
                if let Found::Corrupt(why) = slot.open(true)? {
                    // Bit rot changes no modification time, so the quick check of `ensure` would not notice it.
                    let lock = slot.lock_path();
                    if let Ok(_lock) = Lock::try_exclusive(&lock).map_err(|error| trouble("lock", &lock, error))? {
                        slot.put_aside()?;
                    }
                    damaged.push((slot.part(), why));
                }
            }
        }
        Ok(damaged)
    }

    /// Cleans the cache. `in_use` are the keys ([`super::NodeArtifacts::key`]) of all clusters.
    ///
    /// # Errors
    /// `Artifact` while another kcl uses the cache.
    pub fn clean(&self, what: Clean, in_use: &[String]) -> Result<Cleaned> {
        let path = self.lease_path();
        let _lease = match Lock::try_exclusive(&path).map_err(|error| trouble("lock", &path, error))? {
            Ok(lease) => lease,
            Err(holder) => {
                return Err(Error::new(Id::CacheBusy, format!("the cache is in use by {holder}"))
                    .hint("try again when it is done"));
            }
        };
        let mut used = BTreeSet::new();
        for key in in_use {
            self.keep(&self.cache.slot(Kind::Node, key), &mut used)?;
        }
        let kept = match what {
            Clean::Forced => BTreeSet::new(),
            Clean::All => used.clone(),
            Clean::Unused => used.union(&self.current()?).cloned().collect(),
        };
        let mut cleaned = Cleaned { in_use: used.intersection(&kept).cloned().collect(), ..Cleaned::default() };
        for kind in Kind::ALL {
            for slot in self.cache.slots(kind)? {
                if kept.contains(&slot.part()) {
                    continue;
                }
                // No entry is being made now: that needs the cache's lock, too.
                if let Found::Entry(entry) = slot.open(false)? {
                    cleaned.bytes += entry.size();
                }
                slot.remove()?;
                cleaned.removed.push(slot.part());
            }
        }
        // Entries that were replaced while nodes had them mounted.
        if used.is_empty() || what == Clean::Forced {
            for path in self.cache.aside()? {
                remove(&path)?;
            }
        }
        if what != Clean::Unused {
            // The disks that virtual machines share are made again when needed.
            for directory in ["downloads", "logs", VM_IMAGES] {
                let directory = self.cache.root().join(directory);
                remove(&directory)?;
                std::fs::create_dir(&directory).map_err(|error| trouble("make", &directory, error))?;
            }
        }
        Ok(cleaned)
    }

    /// Adds an entry and all entries that it was made from to `kept`.
    fn keep(&self, slot: &Slot, kept: &mut BTreeSet<String>) -> Result<()> {
        if !kept.insert(slot.part()) {
            return Ok(());
        }
        if let Found::Entry(entry) = slot.open(false)? {
            for part in &entry.manifest.parts {
                if let Some(slot) = self.cache.slot_of(part) {
                    self.keep(&slot, kept)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the entries that this kcl would use, for all versions.
    fn current(&self) -> Result<BTreeSet<String>> {
        let mut parts = BTreeSet::new();
        for artifact in catalog() {
            parts.insert(self.cache.slot(Kind::Artifact, artifact.entry_name()?).part());
            if artifact.name() == "kubernetes" {
                for vm in [false, true] {
                    let want = Want { kubernetes: artifact.version.clone(), vm, ..Want::default() };
                    let plan = compose::Plan::new(&self.cache, &want)?;
                    parts.extend([plan.node.part(), plan.store.part()]);
                }
            }
        }
        for image in oci::all()? {
            parts.insert(self.cache.slot(Kind::Image, image.entry_name()?).part());
        }
        Ok(parts)
    }
}

/// Returns all artifacts in all versions.
fn catalog() -> Vec<Artifact> {
    let versions = |definition| CATALOG.versions(definition);
    CATALOG.artifacts.iter().flat_map(versions).collect()
}

fn row(slot: &Slot, current: bool) -> Result<Row> {
    let (entry, corrupt): (Option<Entry>, _) = match slot.open(false)? {
        Found::Entry(entry) => (Some(*entry), None),
        Found::Nothing => (None, None),
        Found::Corrupt(why) => (None, Some(why)),
    };
    let manifest = entry.as_ref().map(|entry| &entry.manifest);
    Ok(Row {
        kind: slot.kind.directory(),
        name: slot.name.clone(),
        version: None,
        ways: Vec::new(),
        cached: entry.is_some(),
        current,
        corrupt,
        size: entry.as_ref().map(Entry::size).unwrap_or_default(),
        got: manifest.map(|manifest| manifest.way.clone()),
        made_at: manifest.map(|manifest| manifest.made_at.clone()),
        path: slot.path(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::cache::Manifest;
    use super::super::want::Options;
    use super::*;

    fn entry(artifacts: &Artifacts, part: &str, parts: &[&str]) {
        let slot = artifacts.cache.slot_of(part).expect("a kind");
        std::fs::write(slot.begin().expect("begin").join("file"), part).expect("write");
        let parts = parts.iter().map(|&part| part.to_owned()).collect();
        slot.commit(Manifest { way: "build".into(), parts, ..Manifest::default() }, &[], &[]).expect("commit");
    }

    /// A cluster's entries, a leftover, and what this kcl would use.
    fn cache(directory: &Path) -> (Artifacts, String) {
        let artifacts = Artifacts::open(directory, Options::default()).expect("open");
        entry(&artifacts, "artifacts/kubernetes-1.30.0-aaaaaaaaaaaa", &[]);
        entry(&artifacts, "image-stores/bbbbbbbbbbbb", &["artifacts/coredns-1.10.0-cccccccccccc"]);
        entry(&artifacts, "artifacts/coredns-1.10.0-cccccccccccc", &[]);
        let parts = ["artifacts/kubernetes-1.30.0-aaaaaaaaaaaa", "image-stores/bbbbbbbbbbbb"];
        entry(&artifacts, "nodes/v1.30.0-dddddddddddd", &parts);
        entry(&artifacts, "artifacts/etcd-3.4.0-eeeeeeeeeeee", &[]);
        let runc = CATALOG.artifact("runc").and_then(|runc| runc.entry_name()).expect("runc");
        entry(&artifacts, &format!("artifacts/{runc}"), &[]);
        (artifacts, format!("artifacts/{runc}"))
    }

    #[test]
    fn what_clusters_use_stays_and_so_does_what_comes_next() {
        let directory = tempfile::tempdir().expect("a directory");
        let (artifacts, runc) = cache(directory.path());
        let in_use = ["v1.30.0-dddddddddddd".to_owned()];
        let cleaned = artifacts.clean(Clean::Unused, &in_use).expect("clean");
        assert_eq!(cleaned.removed, ["artifacts/etcd-3.4.0-eeeeeeeeeeee"]);
        assert_eq!(cleaned.in_use.len(), 4);
        assert!(cleaned.bytes > 0);
        assert_eq!(artifacts.clean(Clean::All, &in_use).expect("clean").removed, [runc]);
        let cleaned = artifacts.clean(Clean::Forced, &in_use).expect("clean");
        assert_eq!(cleaned.removed.len(), 4);
        assert!(Kind::ALL.iter().all(|kind| artifacts.cache.slots(*kind).expect("slots").is_empty()));
    }

    #[test]
    fn rot_is_found_by_reading_and_put_aside() {
        let directory = tempfile::tempdir().expect("a directory");
        let (artifacts, runc) = cache(directory.path());
        let file = artifacts.cache.slot_of(&runc).expect("runc").path().join("file");
        let before = std::fs::metadata(&file).and_then(|metadata| metadata.modified()).expect("a time");
        let mut bytes = std::fs::read(&file).expect("read");
        bytes[0] ^= 1;
        std::fs::write(&file, bytes).expect("write");
        std::fs::File::options().write(true).open(&file).and_then(|file| file.set_modified(before)).expect("the time");
        let row = artifacts.list().expect("list").into_iter().find(|row| row.name == "runc").expect("runc");
        assert!(row.cached, "the quick look sees nothing");
        let damaged = artifacts.verify().expect("verify");
        assert_eq!(damaged.len(), 1);
        assert!(damaged[0].0 == runc && damaged[0].1.contains("sha256:"), "{damaged:?}");
        let row = artifacts.list().expect("list").into_iter().find(|row| row.name == "runc").expect("runc");
        assert!(!row.cached);
    }

    #[tokio::test]
    async fn nothing_is_cleaned_while_somebody_uses_the_cache() {
        let directory = tempfile::tempdir().expect("a directory");
        let (artifacts, _) = cache(directory.path());
        let lease = Lock::shared(&artifacts.lease_path(), |_| ()).await.expect("lease");
        let error = artifacts.clean(Clean::All, &[]).expect_err("it is in use");
        assert!(error.message.contains("in use"), "{error}");
        drop(lease);
        artifacts.clean(Clean::All, &[]).expect("clean");
    }

    #[test]
    fn the_list_has_the_catalog_and_the_leftovers() {
        let directory = tempfile::tempdir().expect("a directory");
        let (artifacts, runc) = cache(directory.path());
        let rows = artifacts.list().expect("list");
        let runc = rows
            .iter()
            .find(|row| runc.ends_with(row.path.file_name().unwrap_or_default().to_str().unwrap_or_default()));
        let runc = runc.expect("runc");
        assert!(runc.cached && runc.current && runc.size > 0);
        assert_eq!((runc.name.as_str(), &runc.ways[..]), ("runc", &["release", "build"][..]));
        let rootfs = rows.iter().find(|row| row.name == "node-rootfs").expect("the root file system");
        assert_eq!(rootfs.ways, ["build"], "only a mirror has it released");
        let old = rows.iter().find(|row| row.name.starts_with("etcd-3.4.0")).expect("the leftover");
        assert!(old.cached && !old.current);
    }
}
