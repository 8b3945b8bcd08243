//! The cache: entries that are whole or not there. An entry is a directory that was made beside its place, described in
//! its `manifest.json`, and renamed into place under a lock; a killed run leaves at most a `.partial` directory, which
//! the next run under the same lock removes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{digest, tree};
use crate::error::{Error, Family, Result};

const MANIFEST: &str = "manifest.json";

/// A directory of entries.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// The kinds of entries, each with a directory of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What the catalog has.
    Artifact,
    /// What a node mounts, linked together from artifacts.
    Node,
    /// A containerd root with the system images.
    ImageStore,
    /// An OCI image as an archive.
    Image,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 4] = [Kind::Artifact, Kind::Node, Kind::ImageStore, Kind::Image];

    /// The directory below the cache.
    pub fn directory(self) -> &'static str {
        match self {
            Kind::Artifact => "artifacts",
            Kind::Node => "nodes",
            Kind::ImageStore => "image-stores",
            Kind::Image => "images",
        }
    }
}

/// What an entry holds and how it came about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What it is, for people.
    pub title: String,
    /// How it was got: `build`, `release`, `bundle`, or `assembled` for what is made from other entries.
    pub way: String,
    /// From where exactly: addresses, a bundle's path, tools and their versions.
    #[serde(default)]
    pub origin: Vec<String>,
    /// When, as of RFC 3339.
    pub made_at: String,
    /// How long that took.
    pub seconds: f64,
    /// The version of kcl that did it.
    pub kcl: String,
    /// Entries that this one was made from: `<kind directory>/<name>`.
    #[serde(default)]
    pub parts: Vec<String>,
    /// Its files, by path.
    pub files: BTreeMap<String, FileRecord>,
    /// Its symbolic links, by path.
    pub links: BTreeMap<String, String>,
    /// Directories in it that are known by one fingerprint rather than file by file.
    pub trees: BTreeMap<String, String>,
}

/// A file of an entry, as it was when the entry was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its digest.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its permission bits.
    pub mode: u32,
    /// Its modification time, in nanoseconds since 1970.
    pub mtime: i64,
    /// Its inode.
    pub inode: u64,
}

/// A place for an entry.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its kind.
    pub kind: Kind,
    /// Its name, which has its key in it.
    pub name: String,
    root: PathBuf,
}

/// An entry that is there and whole.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its directory.
    pub path: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
}

/// What is in a place.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A whole entry.
    Entry(Box<Entry>),
    /// Something that must not be used, and why.
    Corrupt(String),
}

impl Cache {
    /// The cache in a directory, which is made.
    pub fn open(root: &Path) -> Result<Cache> {
        for directory in Kind::ALL.map(Kind::directory).into_iter().chain(["locks", "downloads", "logs"]) {
            fs::create_dir_all(root.join(directory)).map_err(|error| trouble("make", &root.join(directory), error))?;
        }
        let root = root.canonicalize().map_err(|error| trouble("find", root, error))?;
        Ok(Cache { root })
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A place in it.
    pub fn slot(&self, kind: Kind, name: impl Into<String>) -> Slot {
        Slot { kind, name: name.into(), root: self.root.clone() }
    }

    /// The place that entries call `part` (see [`Slot::part`]).
    pub fn slot_of(&self, part: &str) -> Option<Slot> {
        let (directory, name) = part.split_once('/')?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.directory() == directory)?;
        Some(self.slot(kind, name))
    }

    /// The places of a kind that hold something, sorted by name.
    pub fn slots(&self, kind: Kind) -> Result<Vec<Slot>> {
        let directory = self.root.join(kind.directory());
        let mut slots = Vec::new();
        for item in fs::read_dir(&directory).map_err(|error| trouble("read", &directory, error))? {
            let name = item.map_err(|error| trouble("read", &directory, error))?.file_name();
            let Some(name) = name.to_str() else { continue };
            if !name.contains(".partial") && !name.contains(ASIDE) {
                slots.push(self.slot(kind, name));
            }
        }
        slots.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(slots)
    }

    /// What was put aside because something may still use it.
    pub fn aside(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for kind in Kind::ALL {
            let directory = self.root.join(kind.directory());
            for item in fs::read_dir(&directory).map_err(|error| trouble("read", &directory, error))?.flatten() {
                if item.file_name().to_string_lossy().contains(ASIDE) {
                    found.push(item.path());
                }
            }
        }
        Ok(found)
    }
}

const ASIDE: &str = ".replaced-";

impl Slot {
    /// Where the entry is, or would be.
    pub fn path(&self) -> PathBuf {
        self.root.join(self.kind.directory()).join(&self.name)
    }

    /// As other entries call it.
    pub fn part(&self) -> String {
        format!("{}/{}", self.kind.directory(), self.name)
    }

    /// The lock file.
    pub fn lock_path(&self) -> PathBuf {
        self.root.join("locks").join(format!("{}-{}.lock", self.kind.directory(), self.name))
    }

    /// Where the entry is made.
    pub fn partial(&self) -> PathBuf {
        self.root.join(self.kind.directory()).join(format!("{}.partial", self.name))
    }

    /// What is there. Whether it is whole is told by size, time and inode of its files; only where these differ from
    /// the manifest's are digests computed. With `verify` they are in any case.
    pub fn open(&self, verify: bool) -> Result<Found> {
        let path = self.path();
        let text = match fs::read(path.join(MANIFEST)) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && !path.exists() => return Ok(Found::Nothing),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Found::Corrupt("it has no manifest".into()));
            }
            Err(error) => return Err(trouble("read", &path.join(MANIFEST), error)),
        };
        let Ok(mut manifest) = serde_json::from_slice::<Manifest>(&text) else {
            return Ok(Found::Corrupt("its manifest cannot be read".into()));
        };
        let mut touched = false;
        for (name, record) in &mut manifest.files {
            match check_file(&path.join(name), record, verify) {
                Ok(now) if now == *record => {}
                Ok(now) => {
                    *record = now;
                    touched = true;
                }
                Err(why) => return Ok(Found::Corrupt(format!("{name} {why}"))),
            }
        }
        for (name, target) in &manifest.links {
            if !fs::read_link(path.join(name)).is_ok_and(|found| found.as_os_str() == target.as_str()) {
                return Ok(Found::Corrupt(format!("{name} is not the link to {target} that it was")));
            }
        }
        for (name, fingerprint) in &manifest.trees {
            match tree::fingerprint(&path.join(name)) {
                Ok(found) if found == *fingerprint => {}
                Ok(_) => return Ok(Found::Corrupt(format!("something in its directory {name} was changed"))),
                Err(error) => return Ok(Found::Corrupt(format!("its directory {name} cannot be read: {error}"))),
            }
        }
        if touched {
            write_manifest(&path, &manifest)?;
        }
        Ok(Found::Entry(Box::new(Entry { path, manifest })))
    }

    /// An empty directory in which the entry is to be made. The caller holds the lock.
    pub fn begin(&self) -> Result<PathBuf> {
        let partial = self.partial();
        remove(&partial)?;
        fs::create_dir(&partial).map_err(|error| trouble("make", &partial, error))?;
        Ok(partial)
    }

    /// Removes what [`Slot::begin`] made.
    pub fn abandon(&self) -> Result<()> {
        remove(&self.partial())
    }

    /// Puts what was made into place, in one step. What was there goes aside, as running nodes may use it. `trees` are
    /// the directories to know by a fingerprint; files that are hard links of `known` ones are not read again. The
    /// caller holds the lock.
    pub fn commit(&self, mut manifest: Manifest, trees: &[String], known: &[FileRecord]) -> Result<Entry> {
        let partial = self.partial();
        for item in walkdir::WalkDir::new(&partial)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(|item| !trees.iter().any(|tree| item.path() == partial.join(tree)))
        {
            let item = item.map_err(|error| trouble("read", &partial, error.into()))?;
            let name = item.path().strip_prefix(&partial).expect("it is below").to_string_lossy().into_owned();
            let failed = |error| trouble("read", item.path(), error);
            if item.file_type().is_symlink() {
                let target = fs::read_link(item.path()).map_err(failed)?;
                manifest.links.insert(name, target.to_string_lossy().into_owned());
            } else if item.file_type().is_file() {
                let metadata = fs::symlink_metadata(item.path()).map_err(failed)?;
                let known = known.iter().find(|known| {
                    known.inode == metadata.ino() && known.mtime == mtime(&metadata) && known.size == metadata.len()
                });
                if known.is_none() {
                    File::open(item.path()).and_then(|file| file.sync_all()).map_err(failed)?;
                }
                let record = record(item.path(), known.map(|known| known.sha256.clone())).map_err(failed)?;
                manifest.files.insert(name, record);
            }
        }
        for name in trees {
            let path = partial.join(name);
            let fingerprint = tree::fingerprint(&path).map_err(|error| trouble("read", &path, error))?;
            manifest.trees.insert(name.clone(), fingerprint);
        }
        if !trees.is_empty() {
            let directory = File::open(&partial).map_err(|error| trouble("open", &partial, error))?;
            nix::unistd::syncfs(directory.as_fd()).map_err(|error| trouble("sync", &partial, error.into()))?;
        }
        manifest.kcl = env!("CARGO_PKG_VERSION").to_owned();
        manifest.made_at = jiff::Timestamp::now().to_string();
        write_manifest(&partial, &manifest)?;
        self.put_aside()?;
        let path = self.path();
        fs::rename(&partial, &path).map_err(|error| trouble("make", &path, error))?;
        let kind = path.parent().expect("a kind's directory");
        kcl_files::sync_dir(kind).map_err(|error| trouble("sync", kind, error))?;
        Ok(Entry { path, manifest })
    }

    /// Moves what is there aside, if anything is. It keeps working for who has it mounted. The caller holds the lock.
    pub fn put_aside(&self) -> Result<()> {
        let path = self.path();
        for number in 1.. {
            let aside = path.with_file_name(format!("{}{ASIDE}{number}", self.name));
            if aside.exists() {
                continue;
            }
            return match fs::rename(&path, &aside) {
                Ok(()) => Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(trouble("move", &path, error)),
            };
        }
        unreachable!("there are more numbers than directories")
    }

    /// Removes the entry. The caller holds the lock.
    pub fn remove(&self) -> Result<()> {
        // Renamed first: what is half removed must not look like an entry.
        let partial = self.partial();
        remove(&partial)?;
        match fs::rename(self.path(), &partial) {
            Ok(()) => remove(&partial),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(trouble("remove", &self.path(), error)),
        }
    }
}

impl Entry {
    /// Its name: that of its directory.
    pub fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// The bytes of its files on disk, trees included.
    pub fn size(&self) -> u64 {
        walkdir::WalkDir::new(&self.path)
            .into_iter()
            .flatten()
            .filter_map(|item| item.metadata().ok())
            .map(|metadata| metadata.blocks() * 512)
            .sum()
    }
}

/// A file as it is now, or what is wrong with it.
fn check_file(path: &Path, known: &FileRecord, verify: bool) -> std::result::Result<FileRecord, String> {
    let metadata = fs::symlink_metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("is no longer a file".into());
    }
    if metadata.len() != known.size {
        return Err(format!("has {} bytes and had {}", metadata.len(), known.size));
    }
    let same = metadata.ino() == known.inode && mtime(&metadata) == known.mtime;
    let digest = (same && !verify).then(|| known.sha256.clone());
    let now = record(path, digest).map_err(|error| format!("cannot be read: {error}"))?;
    if now.sha256 != known.sha256 {
        return Err(format!("has the digest sha256:{} and had sha256:{}", now.sha256, known.sha256));
    }
    if now.mode != known.mode {
        return Err(format!("has the mode {:o} and had {:o}", now.mode, known.mode));
    }
    Ok(now)
}

fn record(path: &Path, known_digest: Option<String>) -> std::io::Result<FileRecord> {
    let metadata = fs::metadata(path)?;
    let sha256 = known_digest.map_or_else(|| digest::of_file(path), Ok)?;
    Ok(FileRecord {
        sha256,
        size: metadata.len(),
        mode: metadata.permissions().mode() & 0o7777,
        mtime: mtime(&metadata),
        inode: metadata.ino(),
    })
}

fn mtime(metadata: &fs::Metadata) -> i64 {
    metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec()
}

fn write_manifest(directory: &Path, manifest: &Manifest) -> Result<()> {
    let path = directory.join(MANIFEST);
    let write = || kcl_files::write(&path, &serde_json::to_vec_pretty(manifest)?, 0o600);
    write().map_err(|error| trouble("write", &path, error))
}

/// Removes a directory with all in it, if it is there.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(trouble("remove", path, error)),
        _ => Ok(()),
    }
}

/// An input or output error in the cache.
pub fn trouble(verb: &str, path: &Path, error: std::io::Error) -> Error {
    let full = error.kind() == ErrorKind::StorageFull;
    let message = format!("cannot {verb} {}: {error}", path.display());
    let error = Error::new(if full { Family::Host } else { Family::Artifact }, message).source(error);
    if full { error.hint("free some space, or let the cache be elsewhere: XDG_CACHE_HOME") } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(cache: &Cache) -> Slot {
        let slot = cache.slot(Kind::Artifact, "thing-1-0123456789ab");
        let partial = slot.begin().expect("a directory");
        fs::create_dir_all(partial.join("bin")).expect("bin");
        fs::create_dir_all(partial.join("tree/deep")).expect("tree");
        fs::write(partial.join("bin/thing"), "good").expect("thing");
        fs::write(partial.join("tree/deep/file"), "deep").expect("file");
        std::os::unix::fs::symlink("thing", partial.join("bin/alias")).expect("alias");
        slot.commit(Manifest { title: "thing".into(), ..Manifest::default() }, &["tree".into()], &[]).expect("commit");
        slot
    }

    fn corrupt(slot: &Slot) -> String {
        match slot.open(false).expect("open") {
            Found::Corrupt(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_entry_is_there_or_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(directory.path()).expect("open");
        assert!(matches!(cache.slot(Kind::Artifact, "x").open(false), Ok(Found::Nothing)));
        let slot = entry(&cache);
        let Found::Entry(found) = slot.open(true).expect("open") else { panic!("it is whole") };
        assert_eq!(found.manifest.files.keys().collect::<Vec<_>>(), ["bin/thing"]);
        assert_eq!(found.manifest.links["bin/alias"], "thing");
        assert_eq!(cache.slots(Kind::Artifact).expect("slots").len(), 1);
        slot.remove().expect("remove");
        assert!(matches!(slot.open(false), Ok(Found::Nothing)));
        assert_eq!(fs::read_dir(cache.root().join("artifacts")).expect("read").count(), 0);
    }

    #[test]
    fn what_was_changed_is_never_used() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(directory.path()).expect("open");
        let slot = entry(&cache);
        fs::write(slot.path().join("bin/thing"), "evil").expect("write");
        assert!(corrupt(&slot).contains("bin/thing has the digest"), "{}", corrupt(&slot));
        let slot = entry(&cache);
        fs::write(slot.path().join("bin/thing"), "longer").expect("write");
        assert_eq!(corrupt(&slot), "bin/thing has 6 bytes and had 4");
        let slot = entry(&cache);
        fs::remove_file(slot.path().join("bin/alias")).expect("remove");
        assert!(corrupt(&slot).contains("bin/alias"));
        let slot = entry(&cache);
        fs::write(slot.path().join("tree/more"), "").expect("write");
        assert!(corrupt(&slot).contains("directory tree"));
        let slot = entry(&cache);
        fs::write(slot.path().join(MANIFEST), "{").expect("write");
        assert!(corrupt(&slot).contains("manifest"));
        assert_eq!(cache.aside().expect("aside").len(), 4, "what is replaced goes aside");
    }

    #[test]
    fn what_was_only_touched_is_good_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(directory.path()).expect("open");
        let slot = entry(&cache);
        let thing = slot.path().join("bin/thing");
        fs::rename(&thing, slot.path().join("old")).expect("rename");
        fs::copy(slot.path().join("old"), &thing).expect("copy");
        assert!(matches!(slot.open(false), Ok(Found::Entry(_))));
        assert!(matches!(slot.open(false), Ok(Found::Entry(_))), "the manifest knows the new inode");
    }

    #[test]
    fn an_unfinished_entry_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(directory.path()).expect("open");
        let slot = cache.slot(Kind::Artifact, "thing");
        fs::write(slot.begin().expect("begin").join("half"), "h").expect("write");
        assert!(matches!(slot.open(false), Ok(Found::Nothing)));
        assert!(cache.slots(Kind::Artifact).expect("slots").is_empty());
        assert_eq!(fs::read_dir(slot.begin().expect("begin")).expect("read").count(), 0, "and begun anew");
    }
}
