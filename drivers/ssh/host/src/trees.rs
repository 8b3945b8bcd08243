//! Directory trees that never change: how they are listed, called and kept on a host.
//!
//! A tree is called by a digest over its listing (names, kinds, sizes, times, owners): the same directory has the same
//! key without a byte being read. On a host it lies at `trees/<key>/root`, and is whole once `trees/<key>/whole.json` is
//! there, with the digests of all its files. A file has its name only once its content was checked, so a transfer that
//! was cut off goes on with the files that are missing.
//!
//! Each cluster keeps a list of the trees that it uses (`clusters/<cluster>/trees.json`); a tree in nobody's list goes.

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

/// Something in a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where, below the root of the tree; empty: the root itself.
    pub path: PathBuf,
    /// What.
    #[serde(flatten)]
    pub kind: Kind,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner and its group.
    pub owner: (u32, u32),
    /// When it was last changed: seconds and nanoseconds.
    pub modified: (i64, i64),
    /// Its extended attributes, as base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File {
        /// In bytes.
        size: u64,
        /// SHA-256 in hexadecimal digits; empty where it was not looked at.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        digest: String,
    },
    /// A symbolic link.
    Link {
        /// Where it points.
        target: PathBuf,
    },
    /// A device or FIFO.
    Device {
        /// Its kind as bits of the mode.
        bits: u32,
        /// Its numbers.
        number: u64,
    },
}

/// What is in a directory, in the order of names: directories before what is in them. Sockets are left out.
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

/// What a tree of these entries, not looked into, is called.
pub fn key(entries: &[Entry]) -> String {
    let mut sha = Sha256::new();
    for entry in entries {
        sha.update(serde_json::to_vec(entry).unwrap_or_default());
    }
    encode_string(&sha.finalize()[..16])
}

/// Fills the digests in.
pub fn look_into(source: &Path, entries: &mut [Entry]) -> Result<()> {
    for entry in entries {
        if let Kind::File { digest, .. } = &mut entry.kind {
            let path = source.join(&entry.path);
            *digest = digest_of(&path).with_context(|| format!("read {}", path.display()))?;
        }
    }
    Ok(())
}

/// SHA-256 of a file in hexadecimal digits.
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

/// What a whole tree is known by.
#[derive(Serialize, Deserialize)]
pub(crate) struct Whole {
    /// The boot in which it was last seen to be whole: what was written shortly before a power cut need not be on disk.
    pub boot: String,
    /// With digests.
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

    /// Keeps these trees for the cluster, and no others; those that nobody keeps go.
    pub(crate) fn claim(&self, cluster: &str, keys: &[String]) -> Result<()> {
        for key in keys {
            if key.len() != 32 || !key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(Error::new(ErrorKind::State, format!("{key:?} is no key of a tree")));
            }
        }
        let path = self.claims(cluster);
        storage::make_private_directory(path.parent().unwrap_or(&self.home))?;
        storage::write(&path, &keys)?;
        self.sweep()
    }

    /// The cluster keeps no trees any more.
    pub(crate) fn unclaim(&self, cluster: &str) -> Result<()> {
        storage::remove_file(&self.claims(cluster))?;
        self.sweep()
    }

    /// Removes trees that are in nobody's list.
    fn sweep(&self) -> Result<()> {
        let mut kept = BTreeSet::new();
        for cluster in kcl_driver_local::storage::directories(&self.home.join("clusters"))? {
            kept.extend(storage::read::<Vec<String>>(&self.claims(&cluster))?.unwrap_or_default());
        }
        for key in kcl_driver_local::storage::directories(&self.all())? {
            if !kept.contains(&key) {
                // First: what is half removed must not be taken for whole.
                storage::remove_file(&self.whole(&key))?;
                storage::remove_tree(&self.all().join(&key))?;
            }
        }
        Ok(())
    }

    /// The keys of all whole trees.
    pub(crate) fn there(&self) -> Result<Vec<String>> {
        let all = kcl_driver_local::storage::directories(&self.all())?;
        Ok(all.into_iter().filter(|key| self.whole(key).exists()).collect())
    }

    /// Whether a tree is there and whole. One that was written before the last boot is read once.
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

    /// Where files of other whole trees are, by digest.
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

/// What tells this boot from others.
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
