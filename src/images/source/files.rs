//! The files of an archive or a directory, by their paths. An archive is not unpacked.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Id, Result};
use crate::images::beneath;
use crate::images::compression::{Compression, MAGIC, spool};
use crate::images::containerd::Descriptor;
use crate::images::image::{Blob, Data, Part};
use crate::task::blocking;

/// The maximum size of a JSON document in bytes.
const LARGEST: u64 = 16 << 20;

/// The maximum number of symbolic links to follow.
const LINKS: usize = 8;

/// Files by path.
pub(super) struct Files {
    /// The name of the archive or directory, for messages.
    pub name: String,
    place: Place,
    /// The directory for copies of compressed archives.
    scratch: PathBuf,
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
    pub(super) fn of_directory(path: &Path, scratch: &Path) -> Self {
        let place = Place::Directory(path.to_owned());
        Files { name: path.display().to_string(), place, scratch: scratch.to_owned() }
    }

    /// Opens a tar archive, which may be compressed. A pipe is read to its end.
    pub(super) async fn of_archive(path: &Path, scratch: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let (path, scratch) = (path.to_owned(), scratch.to_owned());
        blocking(move || {
            let mut file = File::open(&path).map_err(|error| unreadable(&name, &error))?;
            if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
                return Files::index(spool(file, &name, &scratch)?, name, scratch);
            }
            let mut magic = Vec::new();
            (&file).take(MAGIC as u64).read_to_end(&mut magic).map_err(|error| unreadable(&name, &error))?;
            file.seek(SeekFrom::Start(0)).map_err(|error| unreadable(&name, &error))?;
            let file = match Compression::of(&magic) {
                None => file,
                Some(_) => spool(file, &name, &scratch)?,
            };
            Files::index(file, name, scratch)
        })
        .await
    }

    /// Reads a stream into an unnamed file in `scratch`.
    pub(super) async fn of_stream(stream: impl Read + Send + 'static, name: &str, scratch: &Path) -> Result<Self> {
        let (name, scratch) = (name.to_owned(), scratch.to_owned());
        blocking(move || Files::index(spool(stream, &name, &scratch)?, name, scratch)).await
    }

    fn index(mut file: File, name: String, scratch: PathBuf) -> Result<Self> {
        let length = file.seek(SeekFrom::End(0)).map_err(|error| unreadable(&name, &error))?;
        file.seek(SeekFrom::Start(0)).map_err(|error| unreadable(&name, &error))?;
        let bad = |error: io::Error| {
            Error::new(Id::ImageDamaged, format!("{name} is not an archive of an image, or is damaged: {error}"))
                .hint("an archive is made with: docker save app:1 -o app.tar")
        };
        let mut entries = HashMap::new();
        let mut archive = tar::Archive::new(file);
        for entry in archive.entries_with_seek().map_err(bad)? {
            let entry = entry.map_err(bad)?;
            let path = clean(&entry.path().map_err(bad)?.to_string_lossy());
            let (offset, size) = (entry.raw_file_position(), entry.size());
            let end = offset.saturating_add(size);
            if entry.header().entry_type().is_file() && end > length {
                let message = format!("{name} is cut off: {path} goes up to byte {end}, and it has {length}");
                return Err(Error::new(Id::ImageDamaged, message).hint("create or copy it again"));
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
        Ok(Files { name, place: Place::Archive { file: Arc::new(archive.into_inner()), entries }, scratch })
    }

    /// Returns true if the file exists.
    pub(super) fn has(&self, path: &str) -> bool {
        match &self.place {
            Place::Directory(directory) => beneath::open(directory, path).is_ok(),
            Place::Archive { .. } => self.entry(path).is_some(),
        }
    }

    /// Describes the contents, for a message about an unexpected layout.
    pub(super) fn what(&self) -> String {
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
            Error::new(Id::ImageDamaged, format!("{} is incomplete: {path} is missing", self.name))
                .hint("create or copy it again")
        };
        match &self.place {
            Place::Directory(directory) => {
                let file = match beneath::open(directory, path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
                    Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                        let message = format!("{path} in {} leads out of this directory", self.name);
                        return Err(Error::new(Id::ImageDamaged, message)
                            .hint(format!("load a copy without such links: cp -rL {} COPY", self.name)));
                    }
                    file => file.map_err(|error| unreadable(&format!("{path} in {}", self.name), &error))?,
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
    pub(super) fn archive(&self) -> Option<(Arc<File>, u64)> {
        let Place::Archive { file, .. } = &self.place else { return None };
        Some((file.clone(), file.metadata().ok()?.len()))
    }

    /// Reads a small file as a whole.
    pub(super) fn read(&self, path: &str) -> Result<Bytes> {
        let (file, offset, size) = self.part(path)?;
        if size > LARGEST {
            let message =
                format!("{path} in {} has {size} bytes, which is too large for a document of an image", self.name);
            return Err(Error::new(Id::ImageDamaged, message));
        }
        let mut bytes = vec![0; usize::try_from(size).expect("it is small")];
        std::os::unix::fs::FileExt::read_exact_at(file.as_ref(), &mut bytes, offset)
            .map_err(|error| unreadable(&self.name, &error))?;
        Ok(bytes.into())
    }

    /// Reads a JSON file.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T> {
        serde_json::from_slice(&self.read(path)?)
            .map_err(|error| Error::new(Id::ImageDamaged, format!("{path} in {} is damaged: {error}", self.name)))
    }

    /// Returns the size of a file and its compression.
    pub(super) fn look(&self, path: &str) -> Result<(u64, Option<Compression>)> {
        let (file, offset, size) = self.part(path)?;
        let mut magic = [0; MAGIC];
        let wanted = usize::try_from(size).unwrap_or(MAGIC).min(MAGIC);
        std::os::unix::fs::FileExt::read_exact_at(file.as_ref(), &mut magic[..wanted], offset)
            .map_err(|error| unreadable(&self.name, &error))?;
        Ok((size, Compression::of(&magic[..wanted])))
    }

    /// Decompresses a file, and returns the copy with its size in bytes.
    pub(super) fn decompressed(&self, path: &str) -> Result<(Data, u64)> {
        let (file, offset, size) = self.part(path)?;
        let what = format!("{path} in {}", self.name);
        let copy = spool(Part::new(file, offset, size), &what, &self.scratch)?;
        let size = copy.metadata().map_err(|error| unreadable(&what, &error))?.len();
        Ok((Data::Part(Arc::new(copy), 0), size))
    }

    /// Returns a file as a blob of a known digest, which the receiver checks.
    pub(super) fn blob(&self, path: &str, descriptor: Descriptor) -> Result<Blob> {
        let (file, offset, size) = self.part(path)?;
        if i64::try_from(size) != Ok(descriptor.size) {
            let message = format!("{path} in {} has {size} bytes instead of {}", self.name, descriptor.size);
            return Err(Error::new(Id::ImageDamaged, message).hint("create or copy it again"));
        }
        Ok(Blob { descriptor, data: Data::Part(file, offset) })
    }
}

/// Returns true for a file, and for a pipe such as the shell's `<(command)`.
pub(super) fn is_readable(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() || metadata.file_type().is_fifo())
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
    Error::new(Id::ImageDamaged, format!("{name} cannot be read: {error}"))
}
