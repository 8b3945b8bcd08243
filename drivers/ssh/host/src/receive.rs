//! Receives trees from the driver: existing files are kept, the others are written as they arrive, file by file.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use base16ct::lower::encode_string;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kcl_driver_api::{Error, ErrorKind, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::storage;
use kcl_files::NewFile;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;
use sha2::{Digest, Sha256};

use crate::protocol::{Done, Missing, answer};
use crate::trees::{Entry, Kind, Trees, Whole, boot, digest_of};

/// Answers the missing files, and writes them as they arrive.
pub(crate) fn receive(
    trees: &Trees,
    wanted: &BTreeMap<String, Vec<Entry>>,
    input: impl Read,
    output: &mut impl Write,
) -> Result<Done> {
    let mut missing = BTreeMap::new();
    for (key, entries) in wanted {
        if !trees.is_whole(key)? {
            missing.insert(key.clone(), prepare(trees, key, entries)?);
        }
    }
    answer(output, Ok(&Missing { files: missing.clone() })).with_context(|| "answer")?;
    let mut stream = zstd::stream::read::Decoder::new(input).with_context(|| "read what is sent")?;
    for (key, files) in &missing {
        let entries = &wanted[key];
        for index in files {
            let entry = entries.get(*index).ok_or_else(|| Error::engine("a file that is not in the listing"))?;
            write(&trees.root(key).join(&entry.path), entry, &mut stream)?;
        }
        finish(trees, key, entries)?;
    }
    Ok(Done {})
}

/// Makes the directories of a tree, and links files that other trees have. Returns the indices of missing files.
fn prepare(trees: &Trees, key: &str, entries: &[Entry]) -> Result<Vec<usize>> {
    let root = trees.root(key);
    storage::make_private_directory(&root)?;
    let known = trees.known()?;
    let mut missing = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let path = inside(&root, entry)?;
        let what = || format!("make {}", path.display());
        match &entry.kind {
            Kind::Directory => match fs::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error).with_context(what),
                _ => {}
            },
            Kind::File { digest, .. } => {
                if path.is_file() && digest_of(&path).is_ok_and(|found| found == *digest) {
                    continue;
                }
                match known.get(digest) {
                    Some((source, there)) if same_attributes(there, entry) => {
                        remove(&path)?;
                        fs::hard_link(source, &path).with_context(what)?;
                    }
                    _ => missing.push(index),
                }
            }
            Kind::Link { target } => {
                remove(&path)?;
                symlink(target, &path).with_context(what)?;
                attributes(&path, entry).with_context(what)?;
            }
            Kind::Device { bits, number } => {
                remove(&path)?;
                mknod(&path, SFlag::from_bits_truncate(*bits), Mode::from_bits_truncate(entry.mode), *number)
                    .with_context(what)?;
                attributes(&path, entry).with_context(what)?;
            }
        }
    }
    Ok(missing)
}

/// Checks that a path stays within the tree.
fn inside(root: &Path, entry: &Entry) -> Result<PathBuf> {
    let plain = entry.path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !plain {
        return Err(Error::new(ErrorKind::State, format!("{} is not a path in a tree", entry.path.display())));
    }
    // A join with an empty path would add a slash.
    Ok(if entry.path.as_os_str().is_empty() { root.to_owned() } else { root.join(&entry.path) })
}

/// Fields that hard links share.
fn same_attributes(a: &Entry, b: &Entry) -> bool {
    (a.mode, a.owner, a.modified, &a.attributes) == (b.mode, b.owner, b.modified, &b.attributes)
}

/// Writes one file of the stream: it has its name once its content is verified.
fn write(path: &Path, entry: &Entry, stream: &mut impl Read) -> Result<()> {
    let Kind::File { size, digest } = &entry.kind else { return Err(Error::engine("only files are sent")) };
    let what = || format!("write {}", path.display());
    let copied = (|| {
        let mut file = NewFile::create_at(&kcl_files::sole_temporary(path), path)?;
        let mut sha = Sha256::new();
        let mut buffer = vec![0; 128 << 10];
        let mut left = *size;
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = stream.read(&mut buffer[..wanted])?;
            if read == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was cut"));
            }
            sha.update(&buffer[..read]);
            file.write_all(&buffer[..read])?;
            left -= read as u64;
        }
        Ok((file, encode_string(&sha.finalize())))
    })();
    let (file, found) = copied.map_err(|error: io::Error| match error.raw_os_error() {
        Some(no) if no == nix::errno::Errno::ENOSPC as i32 => {
            Error::new(ErrorKind::DiskFull, format!("the disk is full: could not write {}", path.display()))
                .hint("free some disk space there")
                .source(error)
        }
        _ => Error::new(ErrorKind::Host, format!("could not write {}: {error}", path.display())).source(error),
    })?;
    if found != *digest {
        let message = format!("{} did not arrive as it was sent: its digest is {found}, not {digest}", path.display());
        return Err(Error::engine(message));
    }
    attributes(file.temporary(), entry).with_context(what)?;
    // Not flushed: each file of a tree is read again after a reboot.
    file.place().with_context(what)
}

/// Sets owner, mode, extended attributes and time, in the order in which none undoes another.
fn attributes(path: &Path, entry: &Entry) -> io::Result<()> {
    lchown(path, Some(entry.owner.0), Some(entry.owner.1))?;
    if !matches!(entry.kind, Kind::Link { .. }) {
        fs::set_permissions(path, fs::Permissions::from_mode(entry.mode))?;
    }
    for (name, value) in &entry.attributes {
        let value = STANDARD.decode(value).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        xattr::set(path, name, &value)?;
    }
    let time = TimeSpec::new(entry.modified.0, entry.modified.1);
    utimensat(nix::fcntl::AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}

/// Sets the attributes of directories, innermost first, as a new file changes the time of its directory; then the tree
/// is whole.
/// whole.
fn finish(trees: &Trees, key: &str, entries: &[Entry]) -> Result<()> {
    let root = trees.root(key);
    for entry in entries.iter().rev().filter(|entry| entry.kind == Kind::Directory) {
        let path = inside(&root, entry)?;
        attributes(&path, entry).with_context(|| format!("set the attributes of {}", path.display()))?;
    }
    storage::write(&trees.whole(key), &Whole { boot: boot()?, entries: entries.to_vec() })
}

fn remove(path: &Path) -> Result<()> {
    kcl_files::remove(path).with_context(|| format!("remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trees;

    /// A driver: a tree and its entries with digests.
    fn source() -> (tempfile::TempDir, Vec<Entry>, String) {
        let source = tempfile::tempdir().unwrap();
        fs::create_dir_all(source.path().join("bin")).unwrap();
        let noise: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        fs::write(source.path().join("bin/a"), noise).unwrap();
        fs::write(source.path().join("b"), "b").unwrap();
        fs::set_permissions(source.path().join("bin/a"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("bin/a", source.path().join("link")).unwrap();
        let mut entries = trees::list(source.path()).unwrap();
        let key = trees::key(&entries);
        trees::look_into(source.path(), &mut entries).unwrap();
        (source, entries, key)
    }

    fn stream(source: &Path, entries: &[Entry], wanted: &[usize]) -> Vec<u8> {
        let files = wanted.iter().flat_map(|index| fs::read(source.join(&entries[*index].path)).unwrap());
        zstd::encode_all(&*files.collect::<Vec<_>>(), 1).unwrap()
    }

    fn asked(output: &[u8]) -> Missing {
        crate::protocol::parse(output.split(|byte| *byte == b'\n').next().unwrap()).unwrap()
    }

    #[test]
    fn a_cut_transfer_goes_on_and_a_whole_one_sends_nothing() {
        let (source, entries, key) = source();
        let home = tempfile::tempdir().unwrap();
        let there = Trees::new(home.path());
        let wanted = BTreeMap::from([(key.clone(), entries.clone())]);
        let all = stream(source.path(), &entries, &[1, 3]);
        // The stream ends within the second file.
        let mut output = Vec::new();
        receive(&there, &wanted, &all[..all.len() - 12], &mut output).unwrap_err();
        assert_eq!(asked(&output).files[&key], [1, 3]);
        assert!(there.root(&key).join("b").exists() && !there.is_whole(&key).unwrap());
        let mut output = Vec::new();
        receive(&there, &wanted, &*stream(source.path(), &entries, &[3]), &mut output).unwrap();
        assert_eq!(asked(&output).files[&key], [3]);
        assert!(there.is_whole(&key).unwrap());
        assert_eq!(trees::key(&trees::list(&there.root(&key)).unwrap()), key, "it looks like its source");
        let mut output = Vec::new();
        receive(&there, &wanted, io::empty(), &mut output).unwrap();
        assert!(asked(&output).files.is_empty());
    }

    #[test]
    fn what_arrives_changed_is_refused_and_what_another_tree_has_is_not_sent() {
        let (source, entries, key) = source();
        let home = tempfile::tempdir().unwrap();
        let there = Trees::new(home.path());
        let wanted = BTreeMap::from([(key.clone(), entries.clone())]);
        let wrong = zstd::encode_all(&vec![8; 300_001][..], 1).unwrap();
        let error = receive(&there, &wanted, &*wrong, &mut Vec::new()).unwrap_err();
        assert!(error.message.contains("did not arrive"), "{error}");
        receive(&there, &wanted, &*stream(source.path(), &entries, &[1, 3]), &mut Vec::new()).unwrap();
        // Another directory with the same files.
        fs::write(source.path().join("new"), "new").unwrap();
        let mut entries = trees::list(source.path()).unwrap();
        let key = trees::key(&entries);
        trees::look_into(source.path(), &mut entries).unwrap();
        let new = entries.iter().position(|entry| entry.path == Path::new("new")).unwrap();
        let mut output = Vec::new();
        let sent = stream(source.path(), &entries, &[new]);
        receive(&there, &BTreeMap::from([(key.clone(), entries)]), &*sent, &mut output).unwrap();
        assert_eq!(asked(&output).files[&key], [new]);
        assert!(there.is_whole(&key).unwrap());
    }
}
