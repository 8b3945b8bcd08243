//! The source `bundle`: one file with all artifacts of nodes, for hosts without a network.
//!
//! A bundle is a zstd-compressed tar: first `bundle.json`, then the files of each entry below the entry's name. Links
//! are in the manifests, and files that are unpacked or assembled from entries are made again on the host that opens
//! the bundle.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use kcl_files::NewFile;
use serde::{Deserialize, Serialize};

use super::cache::{Entry, Manifest, Slot, trouble};
use super::catalog::Artifact;
use super::space;
use crate::digest;
use crate::error::{Error, Id, Result};

const INDEX: &str = "bundle.json";
const FORMAT: u32 = 1;

/// The maximum size of the index in bytes.
const LARGEST_INDEX: u64 = 64 << 20;

/// The contents of a bundle.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Index {
    format: u32,
    /// The version of kcl that made it.
    pub kcl: String,
    /// The version of Kubernetes in it.
    pub kubernetes: String,
    /// The architecture, as Go names it.
    pub arch: String,
    /// The manifests of its entries, by name.
    pub entries: BTreeMap<String, Manifest>,
}

/// Writes a bundle of entries, under another name until it is complete. Returns its size in bytes.
pub(super) fn write(path: &Path, kubernetes: &str, entries: &[(Artifact, Entry)]) -> Result<u64> {
    let failed = |error| trouble("write", path, error);
    let file = NewFile::create(path).map_err(failed)?;
    let index = Index {
        format: FORMAT,
        kcl: env!("CARGO_PKG_VERSION").into(),
        kubernetes: kubernetes.into(),
        arch: entries.first().map(|(artifact, _)| artifact.arch.to_owned()).unwrap_or_default(),
        entries: entries.iter().map(|(_, entry)| (entry.name().to_owned(), entry.manifest.clone())).collect(),
    };
    let write = || -> io::Result<()> {
        let compressed = zstd::Encoder::new(BufWriter::with_capacity(1 << 20, file.file()), 0)?;
        let mut tar = tar::Builder::new(compressed);
        append(&mut tar, INDEX, 0o644, &mut serde_json::to_vec_pretty(&index)?.as_slice(), None)?;
        for (_, entry) in entries {
            for (name, record) in &entry.manifest.files {
                let mut file = File::open(entry.path.join(name))?;
                append(&mut tar, &format!("{}/{name}", entry.name()), record.mode, &mut file, Some(record.size))?;
            }
        }
        tar.into_inner()?.finish()?.flush()
    };
    write().map_err(failed)?;
    let size = file.file().metadata().map_err(failed)?.len();
    file.commit(0o644).map_err(failed)?;
    Ok(size)
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    content: &mut dyn Read,
    size: Option<u64>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    let size = match size {
        Some(size) => size,
        None => content.read_to_end(&mut bytes)? as u64,
    };
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(size);
    tar.append_data(&mut header, path, bytes.as_slice().chain(content))
}

/// Reads the contents of a bundle from its beginning.
pub(super) fn index(path: &Path) -> Result<Index> {
    let mut archive = open(path)?;
    let mut members = archive.entries().map_err(|error| damaged(path, &error.to_string()))?;
    let first = members.next().ok_or_else(|| damaged(path, "it is empty"))?;
    let first = first.map_err(|error| damaged(path, &error.to_string()))?;
    let name = first.path().map_err(|error| damaged(path, &error.to_string()))?.into_owned();
    if name != Path::new(INDEX) {
        return Err(damaged(path, &format!("it begins with {} instead of {INDEX}", name.display())));
    }
    let index: Index =
        serde_json::from_reader(first.take(LARGEST_INDEX)).map_err(|error| damaged(path, &error.to_string()))?;
    if index.format != FORMAT {
        return Err(Error::new(
            Id::BundleUnusable,
            format!("{} has the format {}, but this kcl reads {FORMAT}", path.display(), index.format),
        )
        .hint(format!("use kcl {}, which made it", index.kcl)));
    }
    for name in index.entries.iter().flat_map(|(name, entry)| {
        [name].into_iter().chain(entry.files.keys()).chain(entry.links.keys()).chain(entry.links.values())
    }) {
        if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(damaged(path, &format!("the path {name:?} leads out of it")));
        }
    }
    Ok(index)
}

/// Unpacks the files of entries into the partial directories of their slots, checking each digest. `slots` are by the
/// entries' names; the caller holds their locks.
pub(super) fn unpack(path: &Path, index: &Index, slots: &BTreeMap<String, Slot>) -> Result<()> {
    let mut left: BTreeMap<String, _> = BTreeMap::new();
    for (name, slot) in slots {
        let partial = slot.begin()?;
        let manifest = &index.entries[name];
        let size = manifest.files.values().map(|record| record.size).fold(0, u64::saturating_add);
        // The next entry may have another one's files already.
        space::fits(&partial, size).map_err(|error| trouble("unpack", path, error))?;
        for (file, record) in &manifest.files {
            left.insert(format!("{name}/{file}"), (partial.join(file), record));
        }
        for (link, target) in &manifest.links {
            let link = partial.join(link);
            let make = || {
                fs::create_dir_all(link.parent().expect("it is below"))?;
                std::os::unix::fs::symlink(target, &link)
            };
            make().map_err(|error| trouble("make", &link, error))?;
        }
    }
    let bad = |error: io::Error| damaged(path, &error.to_string());
    let mut archive = open(path)?;
    for member in archive.entries().map_err(bad)? {
        if left.is_empty() {
            break;
        }
        let mut member = member.map_err(bad)?;
        let name = member.path().map_err(bad)?.to_string_lossy().into_owned();
        let Some((to, record)) = left.remove(&name) else { continue };
        let parent = to.parent().expect("it is below");
        fs::create_dir_all(parent).map_err(|error| trouble("make", parent, error))?;
        let file = File::create(&to).map_err(|error| trouble("write", &to, error))?;
        let mut writer = digest::Writer::new(BufWriter::with_capacity(1 << 20, file));
        // Either the bundle cannot be read or the cache cannot be written; the error's text tells which.
        let mut limited = (&mut member).take(record.size.saturating_add(1));
        let copied = io::copy(&mut limited, &mut writer).map_err(|error| trouble("unpack", path, error))?;
        writer.flush().map_err(|error| trouble("write", &to, error))?;
        let (_, found, _) = writer.finish();
        if copied > record.size {
            return Err(damaged(path, &format!("{name} is larger than its manifest says")));
        }
        if found != record.sha256 {
            let why = format!("{name} has the digest sha256:{found}, and its manifest says sha256:{}", record.sha256);
            return Err(damaged(path, &why));
        }
        fs::set_permissions(&to, fs::Permissions::from_mode(record.mode & 0o777))
            .map_err(|error| trouble("change", &to, error))?;
    }
    match left.keys().next() {
        Some(name) => Err(damaged(path, &format!("{name} is not in it"))),
        None => Ok(()),
    }
}

type Archive = tar::Archive<zstd::Decoder<'static, BufReader<File>>>;

fn open(path: &Path) -> Result<Archive> {
    let file = File::open(path).map_err(|error| {
        Error::new(Id::BundleUnusable, format!("the bundle {} cannot be opened: {error}", path.display()))
            .hint("`kcl bundle create FILE` makes one, on a machine with a network")
    })?;
    let reader = zstd::Decoder::with_buffer(BufReader::with_capacity(1 << 20, file))
        .map_err(|error| damaged(path, &error.to_string()))?;
    Ok(tar::Archive::new(reader))
}

fn damaged(path: &Path, why: &str) -> Error {
    Error::new(Id::BundleDamaged, format!("{} is not a valid bundle: {why}", path.display()))
        .hint("nothing of it was used; copy it again, or recreate it with `kcl bundle create`")
}

#[cfg(test)]
mod tests {
    use super::super::cache::{Cache, FileRecord, Kind};
    use super::*;

    const ENTRY: &str = "thing-1-0123456789ab";

    /// Writes a bundle of one entry with these files, of which each states a size; then tries to unpack it.
    fn unpacked(directory: &Path, files: &[(&str, &[u8], u64)]) -> Result<()> {
        let path = directory.join("bundle");
        let record = |content: &[u8], size| FileRecord {
            sha256: digest::of_bytes(content),
            size,
            mode: 0o4755,
            mtime: 0,
            inode: 0,
        };
        let records = files.iter().map(|(name, content, size)| ((*name).to_owned(), record(content, *size)));
        let manifest = Manifest { files: records.collect(), ..Manifest::default() };
        let stated = Index {
            format: FORMAT,
            kcl: "1".into(),
            kubernetes: "v1".into(),
            arch: "amd64".into(),
            entries: BTreeMap::from([(ENTRY.to_owned(), manifest)]),
        };
        let compressed = zstd::Encoder::new(File::create(&path).unwrap(), 1).unwrap();
        let mut tar = tar::Builder::new(compressed);
        append(&mut tar, INDEX, 0o644, &mut serde_json::to_vec(&stated).unwrap().as_slice(), None).unwrap();
        for (name, content, _) in files {
            // Paths that lead out are not written, but stated.
            let _ = append(&mut tar, &format!("{ENTRY}/{name}"), 0o644, &mut &content[..], None);
        }
        tar.into_inner().unwrap().finish().unwrap();
        let cache = Cache::open(&directory.join("cache"))?;
        let slot = cache.slot(Kind::Artifact, ENTRY);
        unpack(&path, &index(&path)?, &BTreeMap::from([(ENTRY.to_owned(), slot)]))
    }

    #[test]
    fn a_bundle_writes_no_more_than_it_states() {
        let directory = tempfile::tempdir().unwrap();
        let fails = |files: &[(&str, &[u8], u64)]| unpacked(directory.path(), files).unwrap_err().message;
        unpacked(directory.path(), &[("bin/a", b"good", 4)]).unwrap();
        let large = fails(&[("bin/a", &[0; 1 << 20], 4)]);
        assert!(large.contains("bin/a is larger than its manifest says"), "{large}");
        // Sizes that no disk has, alone or together.
        for files in
            [&[("a", &b"x"[..], u64::MAX)][..], &[("a", b"x", u64::MAX / 2 + 1), ("b", b"x", u64::MAX / 2 + 1)]]
        {
            let full = fails(files);
            assert!(full.contains("are wanted"), "{full}");
        }
        for name in ["../escaped", "/escaped", "bin/../../escaped"] {
            let out = fails(&[(name, b"x", 1)]);
            assert!(out.contains("leads out of it"), "{out}");
        }
    }

    #[test]
    fn nothing_in_a_bundle_lends_rights() {
        let directory = tempfile::tempdir().unwrap();
        unpacked(directory.path(), &[("bin/a", b"good", 4)]).unwrap();
        let mut found = walkdir::WalkDir::new(directory.path().join("cache")).into_iter().flatten();
        let program = found.find(|entry| entry.file_name() == "a").expect("it was unpacked");
        assert_eq!(program.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    }
}
