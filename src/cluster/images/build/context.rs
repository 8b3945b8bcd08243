//! The context of a build: a directory, an archive, standard input or an address.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::dockerfile::Dockerfile;
use crate::artifacts::space;
use crate::error::{Error, Id, Result};
use crate::images::compression::spool;

/// The argument that stands for standard input.
const STDIN: &str = "-";

/// The beginnings of addresses that BuildKit fetches from.
const REMOTE: [&str; 7] = ["http://", "https://", "git://", "ssh://", "git@", "github.com/", "git+"];

/// A context, and its Dockerfile.
#[derive(Debug)]
pub(super) enum Context {
    /// The files of a directory.
    Local(Local),
    /// The address of a Git repository or of an archive, and the path of the Dockerfile in it.
    Remote(String, Option<PathBuf>),
}

/// A directory, and the Dockerfile by which it is built.
#[derive(Debug)]
pub(super) struct Local {
    /// The path of the directory.
    pub directory: PathBuf,
    /// The Dockerfile, which need not be in it.
    pub dockerfile: Dockerfile,
    /// Removes the directory if it was made for the build.
    _unpacked: Option<TempDir>,
}

impl Context {
    /// Finds the context that `word` names, and the Dockerfile `file` (`-`: standard input). Archives are unpacked in
    /// `scratch`. This may wait for standard input.
    pub(super) fn find(word: &str, file: Option<&Path>, scratch: &Path) -> Result<Self> {
        Self::read(word, file, scratch, io::stdin())
    }

    fn read(word: &str, file: Option<&Path>, scratch: &Path, stdin: impl Read) -> Result<Self> {
        let from_stdin = file == Some(Path::new(STDIN));
        let local = |directory: &Path, dockerfile, unpacked| {
            Context::Local(Local { directory: directory.to_owned(), dockerfile, _unpacked: unpacked })
        };
        if word == STDIN {
            if from_stdin {
                let message = "standard input cannot be both the context and the Dockerfile";
                return Err(Error::new(Id::ImageBuildInvalid, message).hint("give one of them as a file"));
            }
            let (directory, text) = stored(stdin, "standard input", scratch)?;
            let dockerfile = match text {
                Some(text) => of_stream(text)?,
                None => Dockerfile::find(directory.path(), file, true)?,
            };
            let path = directory.path().to_owned();
            return Ok(local(&path, dockerfile, Some(directory)));
        }
        let path = Path::new(word.strip_prefix("file://").unwrap_or(word));
        let metadata = match path.metadata() {
            Err(_) if REMOTE.iter().any(|start| word.starts_with(start)) && !from_stdin => {
                return Ok(Context::Remote(word.to_owned(), file.map(Path::to_owned)));
            }
            metadata => metadata.map_err(|error| unreadable(path, &error))?,
        };
        if metadata.is_dir() {
            let directory = path.canonicalize().map_err(|error| unreadable(path, &error))?;
            let dockerfile = if from_stdin { of_stream(stdin)? } else { Dockerfile::find(&directory, file, false)? };
            return Ok(local(&directory, dockerfile, None));
        }
        let stream = File::open(path).map_err(|error| unreadable(path, &error))?;
        let (directory, text) = stored(stream, &path.display().to_string(), scratch)?;
        if text.is_some() {
            let message =
                format!("{} is neither a directory nor an archive: an image is built from one", path.display());
            return Err(
                Error::new(Id::ImageBuildInvalid, message).hint(format!("a Dockerfile is named with: -f {word}"))
            );
        }
        let dockerfile = if from_stdin { of_stream(stdin)? } else { Dockerfile::find(directory.path(), file, true)? };
        let path = directory.path().to_owned();
        Ok(local(&path, dockerfile, Some(directory)))
    }
}

/// Unpacks the archive in a stream. Returns the directory; for anything else, as `docker build -` takes a Dockerfile, an
/// empty one and the content.
fn stored(stream: impl Read, name: &str, scratch: &Path) -> Result<(TempDir, Option<File>)> {
    let mut file = spool(stream, name, scratch)?;
    let directory = TempDir::new_in(scratch);
    let unpacked = directory.and_then(|directory| {
        file.rewind()?;
        let is_archive = tar::Archive::new(&file).entries()?.next().is_some_and(|entry| entry.is_ok());
        file.rewind()?;
        if !is_archive {
            return Ok((directory, Some(file)));
        }
        unpack(&file, directory.path())?;
        Ok((directory, None))
    });
    unpacked.map_err(|error| {
        Error::new(Id::FileUnwritable, format!("cannot unpack {name} in {}: {error}", scratch.display())).source(error)
    })
}

/// Unpacks an archive. What is neither a file, a directory nor a link is left out, as it is no part of a context.
fn unpack(file: &File, into: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(file);
    archive.set_preserve_permissions(true);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_character_special() || kind.is_block_special() || kind.is_fifo() {
            continue;
        }
        space::left(file)?;
        if !entry.unpack_in(into)? {
            let path = entry.path()?.display().to_string();
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{path} leads out of the archive")));
        }
    }
    Ok(())
}

fn of_stream(stream: impl Read) -> Result<Dockerfile> {
    let unreadable = |error| Error::new(Id::FileUnusable, format!("the Dockerfile cannot be read: {error}"));
    let dockerfile = Dockerfile::of_stream(stream).map_err(unreadable)?;
    if dockerfile.text.is_empty() {
        return Err(Error::new(Id::ImageBuildInvalid, "the Dockerfile on standard input is empty"));
    }
    Ok(dockerfile)
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::new(Id::FileUnusable, format!("the context {} cannot be read: {error}", path.display()))
        .hint("a context is a directory, a tar archive, - for standard input, or the address of one")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the directory's files and the Dockerfile of a context.
    fn found(word: &str, file: Option<&str>, stdin: &[u8], scratch: &Path) -> Result<(Vec<String>, String)> {
        match Context::read(word, file.map(Path::new), scratch, stdin)? {
            Context::Remote(address, file) => Ok((vec![address], format!("{file:?}"))),
            Context::Local(local) => {
                let mut names: Vec<String> = std::fs::read_dir(&local.directory)
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .collect();
                names.sort();
                Ok((names, String::from_utf8(local.dockerfile.text).unwrap()))
            }
        }
    }

    fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            archive.append(&header, text.as_bytes()).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn contexts_come_from_everywhere() {
        let outer = tempfile::tempdir().unwrap();
        let scratch = outer.path().join("scratch");
        let sent = archive(&[("Dockerfile", "FROM a"), ("Other", "FROM b"), ("file", "x")]);
        let names = ["Dockerfile", "Other", "file"].map(str::to_owned).to_vec();
        let path = outer.path().join("context.tar.zst");
        std::fs::write(&path, zstd::encode_all(&*sent, 1).unwrap()).unwrap();
        let path = path.to_str().unwrap();
        let expect = |word: &str, file, stdin: &[u8], names: &[String], text: &str| {
            let (found, dockerfile) = found(word, file, stdin, &scratch).unwrap();
            assert_eq!((found.as_slice(), dockerfile.as_str()), (names, text), "{word} {file:?}");
        };
        expect("-", None, &sent, &names, "FROM a");
        expect("-", Some("Other"), &sent, &names, "FROM b");
        expect("-", None, b"FROM scratch", &[], "FROM scratch");
        expect(path, None, b"", &names, "FROM a");
        expect(&format!("file://{path}"), Some("Other"), b"", &names, "FROM b");
        expect(path, Some("-"), b"FROM c", &names, "FROM c");
        let directory = outer.path().join("directory");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("Dockerfile"), "FROM d").unwrap();
        let link = outer.path().join("link");
        std::os::unix::fs::symlink(&directory, &link).unwrap();
        expect(link.to_str().unwrap(), None, b"", &["Dockerfile".to_owned()], "FROM d");
        expect(directory.to_str().unwrap(), Some("-"), b"FROM e", &["Dockerfile".to_owned()], "FROM e");
        let address = "https://example.org/context.tar.gz";
        expect(address, Some("x"), b"", &[address.to_owned()], "Some(\"x\")");
        assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_context_is_an_error() {
        let outer = tempfile::tempdir().unwrap();
        let scratch = outer.path().join("scratch");
        let file = outer.path().join("Dockerfile");
        std::fs::write(&file, "FROM a").unwrap();
        let fails = |word: &str, file, stdin: &[u8]| found(word, file, stdin, &scratch).unwrap_err().to_string();
        assert!(fails("/nowhere", None, b"").contains("/nowhere"));
        assert!(fails(file.to_str().unwrap(), None, b"").contains("neither a directory nor an archive"));
        assert!(fails("-", Some("-"), b"").contains("both"));
        assert!(fails("-", None, b"").contains("is empty"));
        assert!(fails("-", None, &archive(&[("file", "x")])).contains("Dockerfile"));
        assert!(fails("-", None, &archive(&[("Dockerfile", "FROM a"), ("../escaped", "x")])).contains("leads out"));
        assert!(!outer.path().join("escaped").exists() && !scratch.join("escaped").exists());
    }
}
