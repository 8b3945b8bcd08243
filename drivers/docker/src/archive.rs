//! Writes trees of files as tar archives: the layers of the image, and what is sent to machines. They are always
//! streamed.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use base16ct::lower::encode_string;
use bytes::Bytes;
use futures::Stream;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use walkdir::WalkDir;

/// The prefix of a file's extended attributes in a pax header.
const XATTR: &str = "SCHILY.xattr.";

/// The prefix of overlayfs's own attributes.
const OVERLAY: &str = "trusted.overlay.";

/// The number of bytes that are sent at once.
const PIECE: usize = 1 << 20;

/// A selection of a tree's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The entries that a layer of an image may hold.
    Plain,
    /// The entries that a layer may not hold, as they mean something to overlayfs itself: whiteouts, and directories
    /// with its attributes.
    Overlay,
}

/// Writes the entries of the tree `source` to `out`, to be unpacked at `target`, always in the same order.
pub(crate) fn write_tree<W: Write>(out: W, source: &Path, target: &Path, which: Which) -> io::Result<()> {
    let mut builder = tar::Builder::new(out);
    let target = target.strip_prefix("/").unwrap_or(target);
    if which == Which::Plain {
        let mut above: Vec<&Path> = target.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
        above.reverse();
        for directory in above {
            write_directory(&mut builder, directory)?;
        }
    }
    for entry in WalkDir::new(source).sort_by_file_name() {
        let entry = entry?;
        let meta = entry.path().symlink_metadata()?;
        let relative = entry.path().strip_prefix(source).unwrap_or(entry.path());
        let place = if relative.as_os_str().is_empty() { target.to_owned() } else { target.join(relative) };
        if place.as_os_str().is_empty() {
            // The root itself has no name in an archive.
            continue;
        }
        let marks = attributes(entry.path())?;
        let overlay = is_whiteout(&meta) || marks.iter().any(|(name, _)| name.starts_with(OVERLAY));
        if which == Which::Overlay && !overlay || which == Which::Plain && is_whiteout(&meta) {
            continue;
        }
        let kept = marks.iter().filter(|(name, _)| which == Which::Overlay || !name.starts_with(OVERLAY));
        let named: Vec<(String, &[u8])> = kept.map(|(name, value)| (format!("{XATTR}{name}"), &**value)).collect();
        if !named.is_empty() {
            builder.append_pax_extensions(named.iter().map(|(name, value)| (name.as_str(), *value)))?;
        }
        write_entry(&mut builder, entry.path(), &place, &meta)?;
    }
    builder.finish()
}

fn write_directory<W: Write>(builder: &mut tar::Builder<W>, place: &Path) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    builder.append_data(&mut header, place, io::empty())
}

fn write_entry<W: Write>(builder: &mut tar::Builder<W>, path: &Path, place: &Path, meta: &Metadata) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(meta.mode() & 0o7777);
    // Files that were unpacked without root belong to the user who unpacked them.
    header.set_uid(if meta.uid() == nix::unistd::geteuid().as_raw() { 0 } else { meta.uid().into() });
    header.set_gid(if meta.gid() == nix::unistd::getegid().as_raw() { 0 } else { meta.gid().into() });
    header.set_mtime(meta.mtime().max(0) as u64);
    header.set_size(0);
    let kind = meta.file_type();
    if kind.is_dir() {
        header.set_entry_type(tar::EntryType::Directory);
    } else if kind.is_symlink() {
        header.set_entry_type(tar::EntryType::Symlink);
        return builder.append_link(&mut header, place, fs::read_link(path)?);
    } else if kind.is_file() {
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(meta.len());
        // No more than was announced, in case the file grows.
        return builder.append_data(&mut header, place, io::Read::take(File::open(path)?, meta.len()));
    } else if kind.is_char_device() || kind.is_block_device() {
        let character = kind.is_char_device();
        header.set_entry_type(if character { tar::EntryType::Char } else { tar::EntryType::Block });
        header.set_device_major(nix::sys::stat::major(meta.rdev()) as u32)?;
        header.set_device_minor(nix::sys::stat::minor(meta.rdev()) as u32)?;
    } else if kind.is_fifo() {
        header.set_entry_type(tar::EntryType::Fifo);
    } else {
        // A socket is nothing without the process that made it.
        return Ok(());
    }
    builder.append_data(&mut header, place, io::empty())
}

/// Recognizes entries of overlayfs: "whiteouts and opaque directories" of Documentation/filesystems/overlayfs.rst.
fn is_whiteout(meta: &Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

fn attributes(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let names = match xattr::list(path) {
        Ok(names) => names,
        // The file system has no extended attributes.
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EOPNOTSUPP as i32) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in names {
        let Some(name) = name.to_str().filter(|name| !name.starts_with("system.")) else { continue };
        if let Some(value) = xattr::get(path, name)? {
            found.push((name.to_owned(), value));
        }
    }
    Ok(found)
}

/// Tells whether a tree has entries that a layer may not hold.
pub(crate) fn has_marks(source: &Path) -> io::Result<bool> {
    for entry in WalkDir::new(source) {
        let entry = entry?;
        if is_whiteout(&entry.path().symlink_metadata()?) {
            return Ok(true);
        }
        if entry.file_type().is_dir() && attributes(entry.path())?.iter().any(|(name, _)| name.starts_with(OVERLAY)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A layer of an image: a tree and its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// The directory that holds the tree.
    pub source: PathBuf,
    /// The directory of the tree in the image.
    pub target: PathBuf,
}

/// The identity of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Measured {
    /// The size of its archive in bytes.
    pub size: u64,
    /// The digest of its archive, `sha256:…`, which the image specification calls its DiffID.
    pub digest: String,
}

impl Layer {
    /// Writes the archive of the layer.
    pub(crate) fn write(&self, out: impl Write) -> io::Result<()> {
        write_tree(out, &self.source, &self.target, Which::Plain)
    }

    /// Makes the archive of the layer for its digest only.
    pub(crate) fn measure(&self) -> io::Result<Measured> {
        let mut digester = Digester::default();
        self.write(&mut digester)?;
        Ok(Measured { size: digester.size, digest: format!("sha256:{}", encode_string(&digester.sha.finalize())) })
    }
}

#[derive(Default)]
struct Digester {
    sha: Sha256,
    size: u64,
}

impl Write for Digester {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sha.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `write` on a thread of its own and returns its output in pieces, as the body of a request. If it fails, so does
/// the request.
pub(crate) fn pieces(
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(4);
    tokio::task::spawn_blocking(move || {
        let mut out = io::BufWriter::with_capacity(PIECE, Sender(sender.clone()));
        let written = write(&mut out).and_then(|()| out.flush());
        if let Err(error) = written {
            // If the receiver is gone, it knows already.
            let _ = sender.blocking_send(Err(error));
        }
    });
    futures::stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) })
}

struct Sender(mpsc::Sender<io::Result<Bytes>>);

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        self.0.blocking_send(Ok(piece)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn entries(source: &Path, target: &str, which: Which) -> BTreeMap<String, tar::EntryType> {
        let mut out = Vec::new();
        write_tree(&mut out, source, Path::new(target), which).unwrap();
        let mut archive = tar::Archive::new(&out[..]);
        let name = |entry: &tar::Entry<'_, &[u8]>| entry.path().unwrap().to_str().unwrap().to_owned();
        archive.entries().unwrap().map(|entry| entry.unwrap()).map(|e| (name(&e), e.header().entry_type())).collect()
    }

    #[test]
    fn a_tree_is_at_its_target_with_the_directories_above() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("bin")).unwrap();
        fs::write(tree.path().join("bin/tool"), "x").unwrap();
        fs::set_permissions(tree.path().join("bin/tool"), fs::Permissions::from_mode(0o750)).unwrap();
        symlink("tool", tree.path().join("bin/link")).unwrap();
        let found = entries(tree.path(), "/opt/kcl", Which::Plain);
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            ["opt", "opt/kcl", "opt/kcl/bin", "opt/kcl/bin/link", "opt/kcl/bin/tool"]
        );
        assert_eq!(found["opt/kcl/bin/link"], tar::EntryType::Symlink);
        let layer = Layer { source: tree.path().into(), target: "/opt/kcl".into() };
        let (once, twice) = (layer.measure().unwrap(), layer.measure().unwrap());
        assert_eq!(once, twice);
        let mut out = Vec::new();
        layer.write(&mut out).unwrap();
        assert_eq!(once.size, out.len() as u64);
    }

    #[test]
    fn entries_of_overlayfs_are_kept_apart() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root makes device nodes");
            return;
        }
        use nix::sys::stat::{Mode, SFlag, mknod};
        let tree = tempfile::tempdir().unwrap();
        mknod(&tree.path().join("gone"), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
        fs::write(tree.path().join("kept"), "x").unwrap();
        assert_eq!(entries(tree.path(), "/a", Which::Plain).keys().collect::<Vec<_>>(), ["a", "a/kept"]);
        assert_eq!(entries(tree.path(), "/a", Which::Overlay).keys().collect::<Vec<_>>(), ["a/gone"]);
    }
}
