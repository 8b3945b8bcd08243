//! The cache: its entries are complete or absent. An entry is a directory that is filled under another name, described
//! in its `manifest.json`, and renamed into place under a lock. A killed run leaves at most a `.partial` directory,
//! which the next holder of the lock removes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kcl_files::{MARKER, Marker, Owned, user_dir_with};
use serde::{Deserialize, Serialize};

use super::tree;
use crate::digest;
use crate::error::{Error, Id, Result};

const MANIFEST: &str = "manifest.json";

/// The mode of the cache's directories: what is in them runs as root, so only their owner changes it.
const MODE: u32 = 0o755;

/// A directory of entries.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// The kinds of entries, each with a directory of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An artifact of the catalog.
    Artifact,
    /// The tree that a node mounts, made of links to artifacts.
    Node,
    /// A containerd root with the system images.
    ImageStore,
    /// An OCI image as an archive.
    Image,
}

impl Kind {
    /// All kinds of entries.
    pub const ALL: [Kind; 4] = [Kind::Artifact, Kind::Node, Kind::ImageStore, Kind::Image];

    /// Returns the directory below the cache.
    pub fn directory(self) -> &'static str {
        match self {
            Kind::Artifact => "artifacts",
            Kind::Node => "nodes",
            Kind::ImageStore => "image-stores",
            Kind::Image => "images",
        }
    }
}

/// The contents of an entry and its origin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The name of the contents, for users.
    pub title: String,
    /// The source: `build`, `release`, `bundle`, or `assembled` for an entry made from others.
    pub way: String,
    /// The details of the source: addresses, a bundle's path, tools and their versions.
    #[serde(default)]
    pub origin: Vec<String>,
    /// The time when the entry was made, as in RFC 3339.
    pub made_at: String,
    /// The time in seconds that it took to make the entry.
    pub seconds: f64,
    /// The version of kcl that made the entry.
    pub kcl: String,
    /// The entries that this one was made from: `<kind directory>/<name>`.
    #[serde(default)]
    pub parts: Vec<String>,
    /// Its files, by path.
    pub files: BTreeMap<String, FileRecord>,
    /// Its symbolic links, by path.
    pub links: BTreeMap<String, String>,
    /// Its directories that have one fingerprint rather than a record for each file.
    pub trees: BTreeMap<String, String>,
}

/// The state of a file when its entry was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileRecord {
    /// The digest of its content.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its permission bits.
    pub mode: u32,
    /// Its modification time, in nanoseconds since 1970.
    pub mtime: i64,
    /// The number of its inode.
    pub inode: u64,
}

/// The place of an entry, which may be empty.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The kind of the entry.
    pub kind: Kind,
    /// The name of the entry, which contains its key.
    pub name: String,
    root: PathBuf,
}

/// A complete entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The directory of the entry.
    pub path: PathBuf,
    /// The description of its contents.
    pub manifest: Manifest,
}

/// The state of a slot.
#[derive(Debug)]
pub enum Found {
    /// The slot is empty.
    Nothing,
    /// A complete entry.
    Entry(Box<Entry>),
    /// A damaged entry, and the reason.
    Corrupt(String),
}

impl Cache {
    /// Opens the cache in a directory, which is created.
    ///
    /// # Errors
    /// `Usage` if the directory is somebody else's.
    pub fn open(root: &Path) -> Result<Cache> {
        if let Owned::Unmarked(entry) = Owned::of(root).map_err(|error| trouble("read", root, error))?
            && !Self::is_older(root)
        {
            let message =
                format!("{} is not a cache of kcl's: it has other files in it, such as {entry}", root.display());
            return Err(Error::new(Id::DirectoryForeign, message)
                .hint("set KCL_CACHE to an empty directory or to a new one")
                .hint(format!("if kcl is to use this one all the same: touch {}", root.join(MARKER).display())));
        }
        let make = |directory: &Path| user_dir_with(directory, MODE).map_err(|error| trouble("make", directory, error));
        make(root)?;
        Marker::ensure(root, BTreeSet::new()).map_err(|error| trouble("mark", root, error))?;
        Self::directories().try_for_each(|directory| make(&root.join(directory)))?;
        let root = root.canonicalize().map_err(|error| trouble("find", root, error))?;
        Ok(Cache { root })
    }

    /// Returns true if an older kcl, which made no marker, made the cache: it has all directories, or, where somebody kept
    /// a part of one, artifacts and nodes and nothing that is unknown.
    fn is_older(root: &Path) -> bool {
        let has = |directory: &str| root.join(directory).is_dir();
        let known: Vec<_> = Self::directories().chain(["scratch", "vm"]).collect();
        let mut entries = fs::read_dir(root).into_iter().flatten().flatten();
        let mut is_part = || entries.all(|entry| known.iter().any(|name| entry.file_name() == *name));
        Self::directories().all(has) || (has("artifacts") && has("nodes") && is_part())
    }

    /// Returns the directories that every cache has.
    fn directories() -> impl Iterator<Item = &'static str> {
        Kind::ALL.map(Kind::directory).into_iter().chain(["locks", "downloads", "logs"])
    }

    /// Returns the directory of the cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns a slot of the cache.
    pub fn slot(&self, kind: Kind, name: impl Into<String>) -> Slot {
        Slot { kind, name: name.into(), root: self.root.clone() }
    }

    /// Returns the slot that entries call `part` (see [`Slot::part`]).
    pub fn slot_of(&self, part: &str) -> Option<Slot> {
        let (directory, name) = part.split_once('/')?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.directory() == directory)?;
        Some(self.slot(kind, name))
    }

    /// Lists the occupied slots of a kind, sorted by name.
    pub fn slots(&self, kind: Kind) -> Result<Vec<Slot>> {
        let directory = self.root.join(kind.directory());
        let mut slots = Vec::new();
        for item in fs::read_dir(&directory).map_err(|error| trouble("read", &directory, error))? {
            let name = item.map_err(|error| trouble("read", &directory, error))?.file_name();
            let Some(name) = name.to_str() else { continue };
            if is_key(name) {
                slots.push(self.slot(kind, name));
            }
        }
        slots.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(slots)
    }

    /// Lists the entries that were replaced while something may still use them.
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

/// Returns true if a name ends in the digits of a digest, as those of all entries do: directories with other names are
/// not kcl's.
fn is_key(name: &str) -> bool {
    let digits = name.rsplit('-').next().unwrap_or(name);
    digits.len() == 12 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Slot {
    /// Returns the path of the entry, which may not exist.
    pub fn path(&self) -> PathBuf {
        self.root.join(self.kind.directory()).join(&self.name)
    }

    /// Returns the name by which other entries refer to this one.
    pub fn part(&self) -> String {
        format!("{}/{}", self.kind.directory(), self.name)
    }

    /// Returns the path of the lock file.
    pub fn lock_path(&self) -> PathBuf {
        self.root.join("locks").join(format!("{}-{}.lock", self.kind.directory(), self.name))
    }

    /// Returns the directory in which the entry is made.
    pub fn partial(&self) -> PathBuf {
        self.root.join(self.kind.directory()).join(format!("{}.partial", self.name))
    }

    /// Checks the entry by size, time and inode of its files. Digests are computed only where these differ from the
    /// manifest's, or with `verify`.
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
                return Ok(Found::Corrupt(format!("{name} is no longer a link to {target}")));
            }
        }
        for (name, fingerprint) in &manifest.trees {
            match tree::fingerprint(&path.join(name)) {
                Ok(found) if found == *fingerprint => {}
                Ok(_) => return Ok(Found::Corrupt(format!("its directory {name} has changed"))),
                Err(error) => return Ok(Found::Corrupt(format!("its directory {name} cannot be read: {error}"))),
            }
        }
        if touched {
            write_manifest(&path, &manifest)?;
        }
        Ok(Found::Entry(Box::new(Entry { path, manifest })))
    }

    /// Creates an empty directory in which the entry is made. The caller holds the lock.
    pub fn begin(&self) -> Result<PathBuf> {
        let partial = self.partial();
        remove(&partial)?;
        fs::create_dir(&partial).map_err(|error| trouble("make", &partial, error))?;
        Ok(partial)
    }

    /// Removes the directory of [`Slot::begin`].
    pub fn abandon(&self) -> Result<()> {
        remove(&self.partial())
    }

    /// Moves the new entry into place in one step. The old one is put aside, as running nodes may use it. `trees` are
    /// the directories that get a fingerprint; files that are hard links of `known` ones are not read again. The caller
    /// holds the lock.
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

    /// Renames the entry, if it exists; mounts of it keep working. The caller holds the lock.
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
        // It is renamed first, as a partly removed directory must not look like an entry.
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
    /// Returns the entry's name, which is that of its directory.
    pub fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Returns the number of bytes of its files on disk, trees included.
    pub fn size(&self) -> u64 {
        walkdir::WalkDir::new(&self.path)
            .into_iter()
            .flatten()
            .filter_map(|item| item.metadata().ok())
            .map(|metadata| metadata.blocks() * 512)
            .sum()
    }
}

/// Returns the present record of a file, or the reason why it is damaged.
fn check_file(path: &Path, known: &FileRecord, verify: bool) -> std::result::Result<FileRecord, String> {
    let metadata = fs::symlink_metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("is no longer a file".into());
    }
    if metadata.len() != known.size {
        return Err(format!("has {} bytes instead of {}", metadata.len(), known.size));
    }
    let same = metadata.ino() == known.inode && mtime(&metadata) == known.mtime;
    let digest = (same && !verify).then(|| known.sha256.clone());
    let now = record(path, digest).map_err(|error| format!("cannot be read: {error}"))?;
    if now.sha256 != known.sha256 {
        return Err(format!("has the digest sha256:{} instead of sha256:{}", now.sha256, known.sha256));
    }
    if now.mode != known.mode {
        return Err(format!("has the mode {:o} instead of {:o}", now.mode, known.mode));
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

/// Removes a directory and its contents, if it exists.
pub fn remove(path: &Path) -> Result<()> {
    kcl_files::remove_tree(path).map_err(|error| trouble("remove", path, error))
}

/// Returns the error for a failed operation on a file of the cache.
pub fn trouble(verb: &str, path: &Path, error: std::io::Error) -> Error {
    let full = error.kind() == ErrorKind::StorageFull;
    let message = format!("cannot {verb} {}: {error}", path.display());
    let error = Error::new(if full { Id::DiskFull } else { Id::CacheFailed }, message).source(error);
    if full { error.hint("free some space, or move the cache elsewhere: XDG_CACHE_HOME") } else { error }
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
        let Found::Entry(found) = slot.open(true).expect("open") else { panic!("it is complete") };
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
        assert_eq!(corrupt(&slot), "bin/thing has 6 bytes instead of 4");
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
        assert_eq!(fs::read_dir(slot.begin().expect("begin")).expect("read").count(), 0, "it is empty again");
    }
}
