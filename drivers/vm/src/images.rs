//! Disks of ext4, made of directories by `mke2fs -d`, which needs no root.
//!
//! They are in kcl's cache by a digest of their content, are made once, and are shared by all machines of the host.
//! Everything can be made again, so it may be removed at any time: a running machine has its disks open.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base16ct::lower::encode_string;
use kcl_driver_api::{Error, ErrorKind, MachineSpec, Result, Tree, TreeUse};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::storage;
use kcl_node_spec::guest::{UPPER, VOLUMES, WORK, volume};
use nix::unistd::{Whence, geteuid, lseek};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::laying;

/// The version of disks, which changes with how they are made, so that old ones are not used.
const RECIPE: &str = "2";

/// The size of the disk that a machine writes to. It takes as much room as was written.
const DATA_SIZE: u64 = 20 << 30;

/// The directories of administrators' programs, which a user's `PATH` may lack.
const SYSTEM: [&str; 2] = ["/usr/sbin", "/sbin"];

/// The disks in the cache.
#[derive(Clone, Debug)]
pub struct Images {
    cache: PathBuf,
}

/// The content below a directory.
struct Content {
    digest: String,
    /// The bytes on a disk, each file in whole blocks.
    bytes: u64,
    entries: u64,
}

impl Images {
    /// Returns the images in a directory, which is made when it is needed.
    pub fn new(cache: &Path) -> Self {
        Images { cache: cache.to_owned() }
    }

    /// Returns a read-only disk with the content of a directory.
    ///
    /// # Errors
    /// `Host` if `mke2fs` is missing or fails, for lack of room for instance.
    pub fn tree(&self, source: &Path) -> Result<PathBuf> {
        let content = Content::of(source)?;
        let path = self.cache.join(format!("tree-{RECIPE}-{}.ext4", &content.digest[..16]));
        self.once(&path, |partial| {
            // Inodes, directories and maps take room too.
            let bytes = content.bytes + content.bytes / 20 + content.entries * 512 + (4 << 20);
            let inodes = (content.entries + 64).to_string();
            let options = ["-O", "^has_journal,^resize_inode", "-m", "0", "-b", "4096", "-N", &inodes];
            format(partial, bytes, source, &options)
        })?;
        Ok(path)
    }

    /// Makes the disk that a machine writes to: volumes with the files that the root file system has in their places,
    /// and trees to start from.
    ///
    /// # Errors
    /// `Host` if `mke2fs` is missing or fails; `State` for a tree that cannot be copied.
    pub fn data(&self, spec: &MachineSpec, path: &Path) -> Result<()> {
        let template = self.template(spec)?;
        let partial = path.with_extension("new");
        copy_sparse(&template, &partial).with_context(|| format!("make {}", path.display()))?;
        fs::rename(&partial, path).with_context(|| format!("make {}", path.display()))
    }

    fn template(&self, spec: &MachineSpec) -> Result<PathBuf> {
        let mut sha = Sha256::new();
        let mut add = |part: &[u8]| {
            sha.update((part.len() as u64).to_le_bytes());
            sha.update(part);
        };
        add(Content::of(&spec.rootfs)?.digest.as_bytes());
        for volume in &spec.volumes {
            add(volume.as_os_str().as_bytes());
        }
        for tree in seeds(spec) {
            add(tree.target.as_os_str().as_bytes());
            add(Content::of(&tree.source)?.digest.as_bytes());
        }
        let key = encode_string(&sha.finalize()[..8]);
        let path = self.cache.join(format!("data-{RECIPE}-{key}.ext4"));
        self.once(&path, |partial| {
            let staging = self.cache.join(format!("staging-{key}"));
            storage::remove_tree(&staging)?;
            let made = stage(spec, &staging)
                .and_then(|()| format(partial, DATA_SIZE, &staging, &["-J", "size=64", "-m", "0"]));
            storage::remove_tree(&staging)?;
            made
        })?;
        Ok(path)
    }

    /// Makes a file by `make`, if it does not exist: whole or not at all, one at a time.
    fn once(&self, path: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        if path.exists() {
            return Ok(());
        }
        storage::make_private_directory(&self.cache)?;
        let directory = File::open(&self.cache).with_context(|| format!("open {}", self.cache.display()))?;
        directory.lock().with_context(|| format!("lock {}", self.cache.display()))?;
        if path.exists() {
            return Ok(());
        }
        let partial = path.with_extension("new");
        storage::remove_file(&partial)?;
        make(&partial).inspect_err(|_| {
            // The first error is the one to report.
            let _ = fs::remove_file(&partial);
        })?;
        fs::rename(&partial, path).with_context(|| format!("make {}", path.display()))
    }
}

fn seeds(spec: &MachineSpec) -> impl Iterator<Item = &Tree> {
    spec.trees.iter().filter(|tree| matches!(tree.usage, TreeUse::Seed { .. }))
}

/// Lays out the initial content of the disk that a machine writes to.
fn stage(spec: &MachineSpec, staging: &Path) -> Result<()> {
    let (upper, volumes) = (staging.join(UPPER), staging.join(VOLUMES));
    for directory in [&upper, &staging.join(WORK), &volumes] {
        storage::make_private_directory(directory)?;
    }
    let meta = fs::metadata(&spec.rootfs).with_context(|| format!("read {}", spec.rootfs.display()))?;
    laying::keep(&spec.rootfs, &upper, &meta).with_context(|| format!("set the attributes of {}", upper.display()))?;
    for target in &spec.volumes {
        let (directory, below) = (volumes.join(volume(&target.to_string_lossy())), inside(&spec.rootfs, target));
        match fs::symlink_metadata(&below) {
            Ok(meta) if meta.is_dir() => laying::lay(&below, &directory)?,
            _ => laying::make_parents(
                Path::new("/nonexistent"),
                &volumes,
                Path::new(directory.file_name().expect("it has a name")),
            )?,
        }
    }
    for tree in seeds(spec) {
        let backing = backing(spec, &tree.target);
        if let Ok(relative) = backing.strip_prefix(UPPER) {
            if let Some(link) = relative.ancestors().find(|at| spec.rootfs.join(at).is_symlink()) {
                let message = format!(
                    "the tree for {} cannot be placed: /{} is a symbolic link in {}; name the directory it points to",
                    tree.target.display(),
                    link.display(),
                    spec.rootfs.display()
                );
                return Err(Error::new(ErrorKind::State, message));
            }
            laying::make_parents(&spec.rootfs, &upper, relative)?;
        } else if let Some(parent) = staging.join(&backing).parent() {
            fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        }
        laying::lay(&tree.source, &staging.join(backing))?;
    }
    Ok(())
}

/// Returns the place on the data disk of `target` in the machine: in the innermost volume around it, or in the
/// overlay's upper directory.
pub(crate) fn backing(spec: &MachineSpec, target: &Path) -> PathBuf {
    let around = spec.volumes.iter().filter(|volume| target.starts_with(volume));
    match around.max_by_key(|volume| volume.components().count()) {
        Some(around) => {
            let rest = target.strip_prefix(around).unwrap_or(target);
            let directory = Path::new(VOLUMES).join(volume(&around.to_string_lossy()));
            if rest.as_os_str().is_empty() { directory } else { directory.join(rest) }
        }
        None => Path::new(UPPER).join(target.strip_prefix("/").unwrap_or(target)),
    }
}

pub(crate) fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

impl Content {
    /// Computes a digest of names, kinds, owners, modes, sizes, times and link targets; reads no file.
    fn of(root: &Path) -> Result<Content> {
        let what = || format!("read {}", root.display());
        let mut sha = Sha256::new();
        let mut content = Content { digest: String::new(), bytes: 0, entries: 0 };
        for entry in WalkDir::new(root).sort_by_file_name() {
            let entry = entry.with_context(what)?;
            let meta = entry.metadata().with_context(what)?;
            let size = if meta.is_dir() { 4096 } else { meta.len() };
            content.bytes += size.next_multiple_of(4096);
            content.entries += 1;
            let mut add = |part: &[u8]| {
                sha.update((part.len() as u64).to_le_bytes());
                sha.update(part);
            };
            add(entry.path().strip_prefix(root).unwrap_or(entry.path()).as_os_str().as_bytes());
            for number in [meta.mode().into(), meta.uid().into(), meta.gid().into(), size] {
                add(&u64::to_le_bytes(number));
            }
            if meta.is_file() {
                add(&meta.mtime().to_le_bytes());
                add(&meta.mtime_nsec().to_le_bytes());
            } else if meta.is_symlink() {
                add(fs::read_link(entry.path()).with_context(what)?.as_os_str().as_bytes());
            }
        }
        content.digest = encode_string(&sha.finalize());
        Ok(content)
    }
}

/// Makes a file system with the content of a directory. The user's own files become root's.
fn format(path: &Path, bytes: u64, source: &Path, options: &[&str]) -> Result<()> {
    let mut command = Command::new(program("mke2fs"));
    command.args(["-q", "-F", "-t", "ext4", "-E", "root_owner=0:0", "-d"]).arg(source).args(options);
    command.arg(path).arg(format!("{}k", bytes.div_ceil(4096) * 4));
    run(command, "")?;
    if geteuid().is_root() {
        return Ok(());
    }
    let mut script = String::new();
    for entry in WalkDir::new(source).min_depth(1) {
        let entry = entry.with_context(|| format!("read {}", source.display()))?;
        let relative = entry.path().strip_prefix(source).unwrap_or(entry.path()).to_string_lossy().into_owned();
        for field in ["uid", "gid"] {
            script.push_str(&format!("set_inode_field \"/{relative}\" {field} 0\n"));
        }
    }
    let mut command = Command::new(program("debugfs"));
    command.args(["-w", "-f", "-"]).arg(path);
    run(command, &script)
}

/// Finds a program of the file system's tools.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(SYSTEM.map(PathBuf::from));
    places.map(|place| place.join(name)).find(|path| path.is_file()).unwrap_or_else(|| name.into())
}

fn run(mut command: Command, input: &str) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let what = || format!("run {name}");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        let error = Error::new(ErrorKind::Host, format!("could not run {name}: {error}")).source(error);
        error.hint("it makes the disks of machines; Debian and Fedora have it in the package e2fsprogs")
    })?;
    let mut stdin = child.stdin.take().expect("it was asked for");
    // The program may end before it has read everything, and then reports why.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().with_context(what)?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::new(ErrorKind::Host, format!("{name} could not make a disk ({}): {stderr}", output.status)))
}

/// Copies a file with its holes.
fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let (mut source, target) = (File::open(from)?, File::create(to)?);
    let size = source.metadata()?.len();
    target.set_len(size)?;
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    // lseek(2) fails with ENXIO if there is no more data.
    while let Ok(begin) = lseek(&source, at, Whence::SeekData) {
        let end = lseek(&source, begin, Whence::SeekHole)?;
        source.seek(SeekFrom::Start(begin as u64))?;
        let mut position = begin as u64;
        while position < end as u64 {
            let wanted = buffer.len().min((end as u64 - position) as usize);
            source.read_exact(&mut buffer[..wanted])?;
            target.write_all_at(&buffer[..wanted], position)?;
            position += wanted as u64;
        }
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_holes_of_its_source() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let file = File::create(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"hello", 32 << 20).unwrap();
        copy_sparse(&from, &to).unwrap();
        assert_eq!(fs::read(&from).unwrap(), fs::read(&to).unwrap());
        assert!(fs::metadata(&to).unwrap().blocks() < 1024, "holes stay");
    }

    #[test]
    fn what_is_below_a_directory_is_told_by_a_digest() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "1").unwrap();
        let before = Content::of(directory.path()).unwrap().digest;
        assert_eq!(Content::of(directory.path()).unwrap().digest, before);
        fs::write(directory.path().join("a"), "22").unwrap();
        assert_ne!(Content::of(directory.path()).unwrap().digest, before);
    }
}
