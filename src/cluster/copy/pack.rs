//! An archive of files of this host, which may change while they are read.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// Writes the archive of a file or directory, which is called `name` in it (`.`: only what is in the directory). Returns
/// warnings about what could not be copied as it is.
pub(super) fn pack(to: impl Write, from: &Path, name: &str) -> io::Result<Vec<String>> {
    let mut archive = tar::Builder::new(to);
    archive.follow_symlinks(false);
    let mut warnings = Vec::new();
    for entry in walkdir::WalkDir::new(from).follow_links(false).follow_root_links(false) {
        let (path, depth) = match &entry {
            Ok(entry) => (entry.path(), entry.depth()),
            Err(error) => (error.path().unwrap_or(from), error.depth()),
        };
        let of_path = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let appended = match &entry {
            Ok(entry) => {
                let inner = inner(from, path, name);
                entry.metadata().map_err(io::Error::from).and_then(|meta| append(&mut archive, path, &meta, &inner))
            }
            Err(error) => {
                let kind = error.io_error().map_or(io::ErrorKind::Other, io::Error::kind);
                Err(io::Error::new(kind, error.to_string()))
            }
        };
        match appended {
            Ok(None) => {}
            Ok(Some(warning)) => warnings.push(format!("{}: {warning}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound && depth > 0 => {
                warnings.push(format!("{}: it was removed before it was read", path.display()));
            }
            Err(error) => return Err(of_path(error)),
        }
    }
    archive.finish()?;
    Ok(warnings)
}

/// Returns the path in the archive. The root of contents is `.` itself.
fn inner(from: &Path, path: &Path, name: &str) -> PathBuf {
    let below = path.strip_prefix(from).unwrap_or(Path::new("")).as_os_str().as_bytes();
    let mut inner = name.as_bytes().to_vec();
    if !below.is_empty() {
        inner.push(b'/');
        inner.extend_from_slice(below);
    }
    PathBuf::from(OsString::from_vec(inner))
}

/// Appends an entry. Returns a warning if it is not, or not wholly, in the archive.
fn append(
    archive: &mut tar::Builder<impl Write>,
    path: &Path,
    metadata: &Metadata,
    inner: &Path,
) -> io::Result<Option<String>> {
    let kind = metadata.file_type();
    let mut header = tar::Header::new_gnu();
    header.set_metadata(metadata);
    if kind.is_dir() {
        header.set_size(0);
        return archive.append_data(&mut header, inner, io::empty()).map(|()| None);
    }
    if kind.is_symlink() {
        header.set_size(0);
        return archive.append_link(&mut header, inner, std::fs::read_link(path)?).map(|()| None);
    }
    if !kind.is_file() {
        return Ok(Some("it is a socket, a pipe or a device, and is left out".to_owned()));
    }
    // By now it may be a pipe, which would be waited for.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Some("it was replaced before it was read".to_owned()));
    }
    header.set_metadata(&metadata);
    append_file(archive, &mut header, inner, file, metadata.len())
}

/// Appends as many bytes as a file had when it was opened: it may grow, or shrink, meanwhile.
fn append_file(
    archive: &mut tar::Builder<impl Write>,
    header: &mut tar::Header,
    inner: &Path,
    file: impl Read,
    size: u64,
) -> io::Result<Option<String>> {
    header.set_size(size);
    let mut whole = file.take(size).chain(io::repeat(0)).take(size);
    archive.append_data(header, inner, &mut whole)?;
    let missing = whole.into_inner().into_inner().0.limit();
    Ok((missing > 0).then(|| format!("it shrank by {missing} bytes while it was read, and ends in zeros")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;

    use super::*;

    /// Returns the paths and contents of an archive.
    fn listed(archive: &[u8]) -> Vec<(String, String)> {
        let mut archive = tar::Archive::new(archive);
        let mut found: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let path = entry.path().unwrap().to_string_lossy().into_owned();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                (path, text)
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn what_is_no_file_is_left_out_with_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        std::fs::create_dir_all(tree.join("deep")).unwrap();
        std::fs::write(tree.join("deep/file"), "text").unwrap();
        symlink("/etc/passwd", tree.join("link")).unwrap();
        nix::unistd::mkfifo(&tree.join("pipe"), Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
        let mut archive = Vec::new();
        let warnings = pack(&mut archive, &tree, "other").unwrap();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(
            warnings.iter().all(|warning| warning.contains("tree/") && warning.contains("left out")),
            "{warnings:?}"
        );
        let found = listed(&archive);
        let paths: Vec<&str> = found.iter().map(|(path, _)| path.trim_end_matches('/')).collect();
        assert_eq!(paths, ["other", "other/deep", "other/deep/file", "other/link"]);
        assert_eq!(found[2].1, "text");
        let mut contents = Vec::new();
        pack(&mut contents, &tree.join("deep"), ".").unwrap();
        assert!(listed(&contents).iter().any(|(path, text)| path.ends_with("file") && text == "text"));
    }

    #[test]
    fn a_file_that_grows_or_shrinks_spoils_nothing() {
        for (now, expected, warns) in [("longer than it was", "longe", false), ("ab", "ab\0\0\0", true)] {
            let mut archive = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            let warning = append_file(&mut archive, &mut header, Path::new("a"), now.as_bytes(), 5).unwrap();
            assert_eq!(warning.is_some(), warns, "{warning:?}");
            append_file(&mut archive, &mut tar::Header::new_gnu(), Path::new("b"), &b"next"[..], 4).unwrap();
            let found = listed(&archive.into_inner().unwrap());
            assert_eq!(found, [("a".to_owned(), expected.to_owned()), ("b".to_owned(), "next".to_owned())]);
        }
    }

    #[test]
    fn a_missing_or_unreadable_source_is_an_error_that_names_it() {
        let error = pack(Vec::new(), Path::new("/nowhere/at/all"), "x").unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
