//! Directory trees: a cheap fingerprint that detects changes, unpacking from an archive, and copies by hard links.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Computes a fingerprint of names, kinds, owners, modes, sizes, modification times and link targets below `root`; no
/// content is read. A copy that keeps times has the same fingerprint.
pub fn fingerprint(root: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for item in walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name() {
        let item = item?;
        let metadata = item.metadata()?;
        add(item.path().strip_prefix(root).expect("it is below").as_os_str().as_bytes());
        let size = if metadata.is_dir() { 0 } else { metadata.len() };
        for number in [u64::from(metadata.mode()), u64::from(metadata.uid()), u64::from(metadata.gid()), size] {
            add(&number.to_le_bytes());
        }
        if metadata.is_file() {
            add(&metadata.mtime().to_le_bytes());
            add(&metadata.mtime_nsec().to_le_bytes());
        }
        if metadata.is_symlink() {
            add(fs::read_link(item.path())?.as_os_str().as_bytes());
        }
    }
    Ok(base16ct::lower::encode_string(&hash.finalize()))
}

/// Unpacks a zstd-compressed tar. Owners are kept if kcl runs as root; devices are omitted, as every driver makes its
/// own.
pub fn unpack(archive: &Path, into: &Path) -> io::Result<()> {
    let reader = zstd::Decoder::with_buffer(BufReader::with_capacity(1 << 20, File::open(archive)?))?;
    let mut tar = tar::Archive::new(reader);
    let root = nix::unistd::geteuid().is_root();
    tar.set_preserve_permissions(true);
    tar.set_preserve_ownerships(root);
    tar.set_unpack_xattrs(root);
    fs::create_dir_all(into)?;
    for entry in tar.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_character_special() || kind.is_block_special() {
            continue;
        }
        if !entry.unpack_in(into)? {
            let path = entry.path()?.display().to_string();
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{path} would lead out of the directory")));
        }
    }
    Ok(())
}

/// Copies a tree by hard links, except for files that `copied` selects because they are written to. If the two are on
/// different file systems, all files are copied. Owners and modes are kept.
pub fn link(from: &Path, to: &Path, copied: impl Fn(&Path) -> bool) -> io::Result<()> {
    for item in walkdir::WalkDir::new(from).sort_by_file_name() {
        let item = item?;
        let target = to.join(item.path().strip_prefix(from).expect("it is below"));
        let metadata = item.metadata()?;
        if metadata.is_dir() {
            fs::create_dir_all(&target)?;
            fs::set_permissions(&target, metadata.permissions())?;
            std::os::unix::fs::chown(&target, Some(metadata.uid()), Some(metadata.gid()))?;
        } else if metadata.is_file() && copied(item.path()) {
            copy(item.path(), &target, &metadata)?;
        } else {
            match fs::hard_link(item.path(), &target) {
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy(item.path(), &target, &metadata)?,
                other => other?,
            }
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)?;
    } else {
        fs::copy(from, to)?;
    }
    std::os::unix::fs::lchown(to, Some(metadata.uid()), Some(metadata.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_share_and_copies_do_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir_all(from.join("a/b")).expect("directories");
        fs::write(from.join("a/b/file"), "1").expect("file");
        fs::write(from.join("a/meta.db"), "2").expect("database");
        std::os::unix::fs::symlink("b/file", from.join("a/link")).expect("link");
        link(&from, &to, |path| path.extension().is_some_and(|extension| extension == "db")).expect("link");
        let inode = |path: &Path| fs::symlink_metadata(path).expect("metadata").ino();
        assert_eq!(inode(&from.join("a/b/file")), inode(&to.join("a/b/file")));
        assert_ne!(inode(&from.join("a/meta.db")), inode(&to.join("a/meta.db")));
        assert_eq!(fs::read_to_string(to.join("a/link")).expect("read"), "1");
    }

    #[test]
    fn a_fingerprint_tells_changes() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("d")).expect("directory");
        fs::write(directory.path().join("d/file"), "1").expect("file");
        let before = fingerprint(directory.path()).expect("fingerprint");
        assert_eq!(fingerprint(directory.path()).expect("fingerprint"), before);
        fs::write(directory.path().join("d/file"), "22").expect("file");
        assert_ne!(fingerprint(directory.path()).expect("fingerprint"), before);
    }
}
