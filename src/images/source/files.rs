//! The files of an archive or a directory, by their paths. An archive is not unpacked.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Family, Result};
use crate::images::containerd::Descriptor;
use crate::images::image::{Blob, Data};

/// The maximum size of a JSON document in bytes.
const LARGEST: u64 = 16 << 20;

/// The maximum number of symbolic links to follow.
const LINKS: usize = 8;

/// Files by path.
pub struct Files {
    /// The name of the archive or directory, for messages.
    pub name: String,
    place: Place,
}

enum Place {
    Directory(PathBuf),
    Archive { file: Arc<File>, entries: HashMap<String, Entry> },
}

enum Entry {
    /// The offset and the size in bytes.
    File(u64, u64),
    Link(String),
}

impl Files {
    /// Opens a directory.
    pub fn of_directory(path: &Path) -> Self {
        Files { name: path.display().to_string(), place: Place::Directory(path.to_owned()) }
    }

    /// Opens a tar archive, which may be compressed by gzip or zstd.
    pub async fn of_archive(path: &Path, scratch: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let (path, scratch) = (path.to_owned(), scratch.to_owned());
        blocking(move || {
            let mut file = File::open(&path).map_err(|error| unreadable(&name, &error))?;
            let mut magic = [0; 4];
            let read = file.read(&mut magic).map_err(|error| unreadable(&name, &error))?;
            file.seek(SeekFrom::Start(0)).map_err(|error| unreadable(&name, &error))?;
            match compression(&magic[..read]) {
                None => Files::index(file, name),
                Some(_) => spool(file, name, &scratch),
            }
        })
        .await
    }

    /// Reads a stream into an unnamed file in `scratch`.
    pub async fn of_stream(stream: impl Read + Send + 'static, name: &str, scratch: &Path) -> Result<Self> {
        let (name, scratch) = (name.to_owned(), scratch.to_owned());
        blocking(move || spool(stream, name, &scratch)).await
    }

    fn index(mut file: File, name: String) -> Result<Self> {
        let length = file.seek(SeekFrom::End(0)).map_err(|error| unreadable(&name, &error))?;
        file.seek(SeekFrom::Start(0)).map_err(|error| unreadable(&name, &error))?;
        let bad = |error: io::Error| {
            Error::new(Family::Artifact, format!("{name} is not an archive of an image, or is damaged: {error}"))
                .hint("an archive is made with: docker save app:1 -o app.tar")
        };
        let mut entries = HashMap::new();
        let mut archive = tar::Archive::new(file);
        for entry in archive.entries_with_seek().map_err(bad)? {
            let entry = entry.map_err(bad)?;
            let path = clean(&entry.path().map_err(bad)?.to_string_lossy());
            let (offset, size) = (entry.raw_file_position(), entry.size());
            if entry.header().entry_type().is_file() && offset + size > length {
                let message =
                    format!("{name} is cut off: {path} goes up to byte {}, and it has {length}", offset + size);
                return Err(Error::new(Family::Artifact, message).hint("create or copy it again"));
            }
            let link = entry.link_name().map_err(bad)?.map(|link| link.to_string_lossy().into_owned());
            match (entry.header().entry_type(), link) {
                (tar::EntryType::Symlink, Some(link)) => {
                    let parent = Path::new(&path).parent().unwrap_or(Path::new(""));
                    entries.insert(path.clone(), Entry::Link(clean(&parent.join(link).to_string_lossy())));
                }
                (tar::EntryType::Link, Some(link)) => {
                    entries.insert(path, Entry::Link(clean(&link)));
                }
                (kind, _) if kind.is_file() => {
                    entries.insert(path, Entry::File(offset, size));
                }
                _ => {}
            }
        }
        Ok(Files { name, place: Place::Archive { file: Arc::new(archive.into_inner()), entries } })
    }

    /// Returns true if the file exists.
    pub fn has(&self, path: &str) -> bool {
        match &self.place {
            Place::Directory(directory) => directory.join(path).is_file(),
            Place::Archive { .. } => self.entry(path).is_some(),
        }
    }

    /// Describes the contents, for a message about an unexpected layout.
    pub fn what(&self) -> String {
        match &self.place {
            Place::Directory(_) => "it has no index.json".to_owned(),
            Place::Archive { entries, .. } => {
                let mut names: Vec<&str> = entries.keys().map(String::as_str).collect();
                names.sort_unstable();
                match names.as_slice() {
                    [] => "it is empty".to_owned(),
                    names => format!("it begins with {}", names[..names.len().min(3)].join(", ")),
                }
            }
        }
    }

    fn entry(&self, path: &str) -> Option<(u64, u64)> {
        let Place::Archive { entries, .. } = &self.place else { return None };
        let mut path = clean(path);
        for _ in 0..LINKS {
            match entries.get(&path)? {
                Entry::File(offset, size) => return Some((*offset, *size)),
                Entry::Link(to) => path.clone_from(to),
            }
        }
        None
    }

    /// Returns the file that contains `path`, the offset in it and the size.
    fn part(&self, path: &str) -> Result<(Arc<File>, u64, u64)> {
        let missing = || {
            Error::new(Family::Artifact, format!("{} is incomplete: {path} is missing", self.name))
                .hint("create or copy it again")
        };
        match &self.place {
            Place::Directory(directory) => {
                let file = match File::open(directory.join(path)) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
                    file => file.map_err(|error| unreadable(&self.name, &error))?,
                };
                let size = file.metadata().map_err(|error| unreadable(&self.name, &error))?.len();
                Ok((Arc::new(file), 0, size))
            }
            Place::Archive { file, .. } => {
                let (offset, size) = self.entry(path).ok_or_else(missing)?;
                Ok((file.clone(), offset, size))
            }
        }
    }

    /// Returns the archive itself and its size in bytes, or nothing for a directory.
    pub fn archive(&self) -> Option<(Arc<File>, u64)> {
        let Place::Archive { file, .. } = &self.place else { return None };
        Some((file.clone(), file.metadata().ok()?.len()))
    }

    /// Reads a small file as a whole.
    pub fn read(&self, path: &str) -> Result<Bytes> {
        let (file, offset, size) = self.part(path)?;
        if size > LARGEST {
            let message =
                format!("{path} in {} has {size} bytes, which is too large for a document of an image", self.name);
            return Err(Error::new(Family::Artifact, message));
        }
        let mut bytes = vec![0; usize::try_from(size).expect("it is small")];
        std::os::unix::fs::FileExt::read_exact_at(file.as_ref(), &mut bytes, offset)
            .map_err(|error| unreadable(&self.name, &error))?;
        Ok(bytes.into())
    }

    /// Reads a JSON file.
    pub fn json<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T> {
        serde_json::from_slice(&self.read(path)?)
            .map_err(|error| Error::new(Family::Artifact, format!("{path} in {} is damaged: {error}", self.name)))
    }

    /// Returns the size of a file and its first bytes.
    pub fn look(&self, path: &str) -> Result<(u64, [u8; 4])> {
        let (file, offset, size) = self.part(path)?;
        let mut magic = [0; 4];
        let wanted = usize::try_from(size).unwrap_or(4).min(4);
        std::os::unix::fs::FileExt::read_exact_at(file.as_ref(), &mut magic[..wanted], offset)
            .map_err(|error| unreadable(&self.name, &error))?;
        Ok((size, magic))
    }

    /// Returns a file as a blob of a known digest, which the receiver checks.
    pub fn blob(&self, path: &str, descriptor: Descriptor) -> Result<Blob> {
        let (file, offset, size) = self.part(path)?;
        if size != descriptor.size.unsigned_abs() {
            let message = format!("{path} in {} has {size} bytes instead of {}", self.name, descriptor.size);
            return Err(Error::new(Family::Artifact, message).hint("create or copy it again"));
        }
        Ok(Blob { descriptor, data: Data::Part(file, offset) })
    }
}

/// Returns the compression that the first bytes indicate.
pub fn compression(magic: &[u8]) -> Option<&'static str> {
    match magic {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        _ => None,
    }
}

/// Decompresses a stream into an unnamed file.
fn spool(mut stream: impl Read, name: String, scratch: &Path) -> Result<Files> {
    let full = |error: io::Error| {
        let message = format!("cannot store {name} in {} while it is read: {error}", scratch.display());
        Error::new(Family::Host, message).source(error)
    };
    std::fs::create_dir_all(scratch).map_err(full)?;
    let mut file = tempfile::tempfile_in(scratch).map_err(full)?;
    let mut magic = Vec::new();
    (&mut stream).take(4).read_to_end(&mut magic).map_err(|error| unreadable(&name, &error))?;
    let whole = io::Cursor::new(magic.clone()).chain(stream);
    let damaged = |error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => full(error),
        _ => Error::new(Family::Artifact, format!("{name} is damaged or cut off: {error}")),
    };
    match compression(&magic) {
        Some("gzip") => io::copy(&mut flate2::read::MultiGzDecoder::new(whole), &mut file).map_err(damaged)?,
        Some(_) => io::copy(&mut zstd::Decoder::new(whole).map_err(damaged)?, &mut file).map_err(damaged)?,
        None => io::copy(&mut { whole }, &mut file).map_err(damaged)?,
    };
    Files::index(file, name)
}

/// Removes `.` and `..` from a path.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn unreadable(name: &str, error: &io::Error) -> Error {
    Error::new(Family::Artifact, format!("{name} cannot be read: {error}"))
}

/// Runs blocking work where it holds up no async task.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let died = |error| Err(Error::new(Family::Internal, format!("a task died: {error}")));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(died)
}
