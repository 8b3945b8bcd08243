//! Directory trees that never change: their listing, their names and their files on a host.
//!
//! A tree is named by a digest of its listing (names, kinds, sizes, times, owners): the same directory has the same key
//! without a byte being read. On a host it is at `trees/<key>/root`, and is whole once `trees/<key>/whole.json` exists,
//! with the digests of all its files. A file has its name only once its content was verified, so an interrupted
//! transfer resumes with the missing files.
//!
//! Each cluster keeps a list of the trees that it uses (`clusters/<cluster>/trees.json`); a tree in no list is removed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use base16ct::lower::encode_string;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kcl_driver_api::{Error, ErrorKind, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::storage;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

/// An entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The path below the root of the tree; empty for the root itself.
    pub path: PathBuf,
    /// The kind of the entry.
    #[serde(flatten)]
    pub kind: Kind,
    /// The permission bits.
    pub mode: u32,
    /// The owner and the group.
    pub owner: (u32, u32),
    /// The time of the last change: seconds and nanoseconds.
    pub modified: (i64, i64),
    /// The extended attributes, as base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// The kind of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Kind {
    /// The entry is a directory.
    Directory,
    /// The entry is a file.
    File {
        /// The size in bytes.
        size: u64,
        /// The SHA-256 in hexadecimal digits; empty if the content was not read.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        digest: String,
    },
    /// The entry is a symbolic link.
    Link {
        /// The target of the link.
        target: PathBuf,
    },
    /// The entry is a device or a FIFO.
    Device {
        /// The kind as bits of the mode.
        bits: u32,
        /// The device numbers.
        number: u64,
    },
}

/// Lists a directory in the order of names: directories before their content. Sockets are left out.
pub fn list(source: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for found in WalkDir::new(source).sort_by_file_name() {
        let found = found.with_context(|| format!("read {}", source.display()))?;
        let what = || format!("read {}", found.path().display());
        let meta = found.metadata().with_context(what)?;
        let kind = meta.file_type();
        if kind.is_socket() {
            continue;
        }
        let kind = if kind.is_dir() {
            Kind::Directory
        } else if kind.is_file() {
            Kind::File { size: meta.len(), digest: String::new() }
        } else if kind.is_symlink() {
            Kind::Link { target: fs::read_link(found.path()).with_context(what)? }
        } else {
            Kind::Device { bits: meta.mode() & 0o170_000, number: meta.rdev() }
        };
        entries.push(Entry {
            path: found.path().strip_prefix(source).unwrap_or(found.path()).to_owned(),
            kind,
            mode: meta.mode() & 0o7777,
            owner: (meta.uid(), meta.gid()),
            modified: (meta.mtime(), meta.mtime_nsec()),
            attributes: attributes(found.path()).with_context(what)?,
        });
    }
    Ok(entries)
}

fn attributes(path: &Path) -> io::Result<BTreeMap<String, String>> {
    let names = match xattr::list(path) {
        Ok(names) => names,
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EOPNOTSUPP as i32) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut found = BTreeMap::new();
    for name in names {
        if let Some(value) = xattr::get(path, &name)? {
            found.insert(name.to_string_lossy().into_owned(), STANDARD.encode(value));
        }
    }
    Ok(found)
}

/// Returns the key of a tree of these entries, which need no digests.
pub fn key(entries: &[Entry]) -> String {
    let mut sha = Sha256::new();
    for entry in entries {
        sha.update(serde_json::to_vec(entry).unwrap_or_default());
    }
    encode_string(&sha.finalize()[..16])
}

/// Adds the digests of the files.
pub fn look_into(source: &Path, entries: &mut [Entry]) -> Result<()> {
    for entry in entries {
        if let Kind::File { digest, .. } = &mut entry.kind {
            let path = source.join(&entry.path);
            *digest = digest_of(&path).with_context(|| format!("read {}", path.display()))?;
        }
    }
    Ok(())
}

/// Returns the SHA-256 of a file in hexadecimal digits.
pub(crate) fn digest_of(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(encode_string(&sha.finalize())),
            read => sha.update(&buffer[..read]),
        }
    }
}

/// The trees of a host.
pub(crate) struct Trees {
    home: PathBuf,
}

/// The record of a whole tree.
#[derive(Serialize, Deserialize)]
pub(crate) struct Whole {
    /// The boot in which it was last seen to be whole: files that were written shortly before a power cut may be lost.
    pub boot: String,
    /// The entries with digests.
    pub entries: Vec<Entry>,
}

impl Trees {
    pub(crate) fn new(home: &Path) -> Self {
        Trees { home: home.to_owned() }
    }

    fn all(&self) -> PathBuf {
        self.home.join("trees")
    }

    pub(crate) fn root(&self, key: &str) -> PathBuf {
        self.all().join(key).join("root")
    }

    pub(crate) fn whole(&self, key: &str) -> PathBuf {
        self.all().join(key).join("whole.json")
    }

    fn claims(&self, cluster: &str) -> PathBuf {
        self.home.join("clusters").join(cluster).join("trees.json")
    }

    /// Keeps these trees for the cluster, and no others; removes those that nobody keeps.
    pub(crate) fn claim(&self, cluster: &str, keys: &[String]) -> Result<()> {
        for key in keys {
            if key.len() != 32 || !key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(Error::new(ErrorKind::State, format!("{key:?} is not a key of a tree")));
            }
        }
        let path = self.claims(cluster);
        storage::make_private_directory(path.parent().unwrap_or(&self.home))?;
        storage::write(&path, &keys)?;
        self.sweep()
    }

    /// Forgets the trees of the cluster.
    pub(crate) fn unclaim(&self, cluster: &str) -> Result<()> {
        storage::remove_file(&self.claims(cluster))?;
        self.sweep()
    }

    /// Removes trees that are in no list.
    fn sweep(&self) -> Result<()> {
        let mut kept = BTreeSet::new();
        for cluster in kcl_driver_local::storage::directories(&self.home.join("clusters"))? {
            kept.extend(storage::read::<Vec<String>>(&self.claims(&cluster))?.unwrap_or_default());
        }
        for key in kcl_driver_local::storage::directories(&self.all())? {
            if !kept.contains(&key) {
                // First: a half-removed tree must not pass for a whole one.
                storage::remove_file(&self.whole(&key))?;
                storage::remove_tree(&self.all().join(&key))?;
            }
        }
        Ok(())
    }

    /// Lists the keys of all whole trees.
    pub(crate) fn there(&self) -> Result<Vec<String>> {
        let all = kcl_driver_local::storage::directories(&self.all())?;
        Ok(all.into_iter().filter(|key| self.whole(key).exists()).collect())
    }

    /// Returns true if a tree is whole. One that was written before the last boot is read once.
    pub(crate) fn is_whole(&self, key: &str) -> Result<bool> {
        let Some(whole) = storage::read::<Whole>(&self.whole(key))? else { return Ok(false) };
        let boot = boot()?;
        if whole.boot == boot {
            return Ok(true);
        }
        let root = self.root(key);
        let good = |entry: &Entry| match &entry.kind {
            Kind::File { digest, .. } => digest_of(&root.join(&entry.path)).is_ok_and(|found| found == *digest),
            _ => root.join(&entry.path).symlink_metadata().is_ok(),
        };
        if whole.entries.iter().all(good) {
            storage::write(&self.whole(key), &Whole { boot, entries: whole.entries })?;
            return Ok(true);
        }
        storage::remove_file(&self.whole(key))?;
        Ok(false)
    }

    /// Returns the paths of files of other whole trees, by digest.
    pub(crate) fn known(&self) -> Result<HashMap<String, (PathBuf, Entry)>> {
        let mut known = HashMap::new();
        for key in self.there()? {
            let root = self.root(&key);
            for entry in storage::read::<Whole>(&self.whole(&key))?.map(|whole| whole.entries).unwrap_or_default() {
                if let Kind::File { digest, .. } = &entry.kind {
                    known.insert(digest.clone(), (root.join(&entry.path), entry));
                }
            }
        }
        Ok(known)
    }
}

/// Returns the id of this boot.
pub(crate) fn boot() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(fs::read_to_string(path).with_context(|| format!("read {path}"))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_all_that_can_be_seen_of_a_tree() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("a")).unwrap();
        fs::write(tree.path().join("a/file"), "content").unwrap();
        std::os::unix::fs::symlink("file", tree.path().join("a/link")).unwrap();
        let mut entries = list(tree.path()).unwrap();
        let names: Vec<_> = entries.iter().map(|entry| entry.path.display().to_string()).collect();
        assert_eq!(names, ["", "a", "a/file", "a/link"]);
        let before = key(&entries);
        assert_eq!(key(&list(tree.path()).unwrap()), before);
        look_into(tree.path(), &mut entries).unwrap();
        assert!(matches!(&entries[2].kind, Kind::File { size: 7, digest } if digest.starts_with("ed7002b439e9ac84")));
        fs::write(tree.path().join("a/file"), "another").unwrap();
        assert_ne!(key(&list(tree.path()).unwrap()), before);
    }

    #[test]
    fn trees_go_with_the_last_cluster_that_keeps_them() {
        let home = tempfile::tempdir().unwrap();
        let trees = Trees::new(home.path());
        let (one, both) = ("1".repeat(32), "2".repeat(32));
        for key in [&one, &both] {
            fs::create_dir_all(trees.root(key)).unwrap();
        }
        trees.claim("a", &[one.clone(), both.clone()]).unwrap();
        trees.claim("b", std::slice::from_ref(&both)).unwrap();
        trees.unclaim("a").unwrap();
        assert!(!trees.root(&one).exists() && trees.root(&both).exists());
        trees.unclaim("b").unwrap();
        assert!(!trees.root(&both).exists());
        assert!(trees.claim("a", &["../../etc".to_owned()]).is_err());
    }
}
