//! Reads and writes files of a machine: by commands in a running one, which sees all its mounts; by the engine's
//! archives in a stopped one, which reach its volumes, too.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use bytes::Bytes;
use futures::TryStreamExt;
use kcl_driver_api::{Error, ErrorKind, Exec, File, Result, Stdin};

use crate::engine::{Engine, EngineContext as _};
use crate::exec;
use crate::names::MachineNames;
use crate::power;

/// The script that writes files from its input. It takes three arguments for each: the path, the mode and the size.
/// Each file is renamed into its place.
const PUT: &str = r#"
set -e
temporary=
trap 'rm -f -- "$temporary"' EXIT
while [ $# -gt 0 ]; do
    directory=${1%/*}/
    umask 022
    mkdir -p -- "$directory"
    umask 077
    if [ -d "$1" ]; then echo "$1 is a directory" >&2; exit 1; fi
    temporary=$directory.kcl-new-${1##*/}
    if [ "$3" -gt 0 ]; then
        dd of="$temporary" bs="$3" count=1 iflag=fullblock 2>/dev/null
    else
        : >"$temporary"
    fi
    chmod "$2" "$temporary"
    mv -f -- "$temporary" "$1"
    shift 3
done
"#;

/// The script that reads a file.
const GET: &str = r#"if [ ! -e "$1" ]; then exit 44; elif [ ! -f "$1" ]; then exit 45; else exec cat -- "$1"; fi"#;
const NOT_THERE: i32 = 44;
const NO_FILE: i32 = 45;

/// The number of symbolic links that are followed one after the other, as many as the kernel follows
/// (path_resolution(7)).
const LINKS: usize = 40;

/// Writes files, each whole or not at all.
pub(crate) async fn put(engine: &Engine, names: &MachineNames, files: &[File]) -> Result<()> {
    for file in files {
        check(&file.path)?;
    }
    if !power::running(engine, names).await? {
        return put_stopped(engine, &names.container(), files).await;
    }
    let arguments = files.iter().flat_map(|file| {
        [file.path.to_string_lossy().into_owned(), format!("{:o}", file.mode), file.content.len().to_string()]
    });
    let line = ["/bin/sh", "-c", PUT, "put"].map(str::to_owned).into_iter().chain(arguments);
    let content = files.iter().flat_map(|file| &file.content).copied().collect();
    let output = exec::exec(engine, names, Exec { stdin: Stdin::Bytes(content), ..Exec::new(line) }).await?;
    if output.code == 0 {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::engine(format!("could not write files in machine {}: {said}", names.name)))
}

/// Reads a file.
pub(crate) async fn get(engine: &Engine, names: &MachineNames, path: &Path) -> Result<Vec<u8>> {
    check(path)?;
    if !power::running(engine, names).await? {
        return get_stopped(engine, &names.container(), path).await;
    }
    let line =
        ["/bin/sh", "-c", GET, "get"].map(str::to_owned).into_iter().chain([path.to_string_lossy().into_owned()]);
    let output = exec::exec(engine, names, Exec::new(line)).await?;
    match output.code {
        0 => Ok(output.stdout),
        NOT_THERE => Err(not_there(path)),
        NO_FILE => Err(no_file(path)),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Error::engine(format!("could not read {} in machine {}: {said}", path.display(), names.name)))
        }
    }
}

/// Writes files into a container that is not running. Nothing reads them before it runs.
pub(crate) async fn put_stopped(engine: &Engine, container: &str, files: &[File]) -> Result<()> {
    let what = || format!("write files into the container {container}");
    let found = engine.docker.inspect_container(container, None).await.with_context(what)?;
    let mounts = found.mounts.into_iter().flatten().filter_map(|mount| mount.destination.map(PathBuf::from));
    let mounts: Vec<PathBuf> = mounts.collect();
    let mut by_place: BTreeMap<&Path, Vec<&File>> = BTreeMap::new();
    for file in files {
        by_place.entry(place(&mounts, &file.path)).or_default().push(file);
    }
    for (place, files) in by_place {
        let options = UploadToContainerOptionsBuilder::default().path(&place.to_string_lossy()).build();
        let body = bollard::body_full(Bytes::from(archive(place, &files)?));
        engine.docker.upload_to_container(container, Some(options), body).await.with_context(what)?;
    }
    Ok(())
}

/// Returns the mount that a file is on. Docker finds volumes wherever an archive leads, Podman only where it begins.
fn place<'a>(mounts: &'a [PathBuf], file: &Path) -> &'a Path {
    let of_file = mounts.iter().filter(|mount| file.starts_with(mount));
    of_file.max_by_key(|mount| mount.as_os_str().len()).map_or(Path::new("/"), PathBuf::as_path)
}

/// Packs files into an archive that is unpacked at `place`.
fn archive(place: &Path, files: &[&File]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(file.mode);
        header.set_size(file.content.len() as u64);
        header.set_mtime(now());
        let inside = file.path.strip_prefix(place).unwrap_or(&file.path);
        archive.append_data(&mut header, inside, &*file.content)?;
    }
    Ok(archive.into_inner()?)
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Reads a file of a container that is not running.
pub(crate) async fn get_stopped(engine: &Engine, container: &str, path: &Path) -> Result<Vec<u8>> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let options = DownloadFromContainerOptionsBuilder::default().path(&path.to_string_lossy()).build();
        let pieces = engine.docker.download_from_container(container, Some(options));
        let archive: std::result::Result<Vec<Bytes>, _> = pieces.try_collect().await;
        let what = || format!("read {} in the container {container}", path.display());
        let archive = archive.if_found(what)?.ok_or_else(|| not_there(&path))?.concat();
        let mut archive = tar::Archive::new(&archive[..]);
        let mut entry = archive.entries()?.next().ok_or_else(|| not_there(&path))??;
        match entry.header().entry_type() {
            tar::EntryType::Regular => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                return Ok(content);
            }
            tar::EntryType::Symlink => {
                let target = entry.link_name()?.map(|target| target.into_owned()).unwrap_or_default();
                path = resolve(&path, &target);
            }
            _ => return Err(no_file(&path)),
        }
    }
    Err(Error::new(ErrorKind::State, format!("{} is a loop of symbolic links", path.display())))
}

/// Returns the target of a symbolic link. The engine resolves the links above it.
fn resolve(link: &Path, target: &Path) -> PathBuf {
    link.parent().unwrap_or(Path::new("/")).join(target)
}

fn not_there(path: &Path) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no {} in the machine", path.display()))
}

fn no_file(path: &Path) -> Error {
    Error::new(ErrorKind::State, format!("{} in the machine is not a file", path.display()))
}

fn check(path: &Path) -> Result<()> {
    if path.is_absolute() && !path.components().any(|part| part == Component::ParentDir) {
        return Ok(());
    }
    let message = format!("{} is not a path in a machine: it must be absolute and without \"..\"", path.display());
    Err(Error::new(ErrorKind::State, message))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_shell_writes_files_whole_with_their_modes() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
        let mut shell = Command::new("/bin/sh")
            .args(["-c", PUT, "put", &path("a/b/one"), "640", "3", &path("a/empty"), "600", "0"])
            .args([path("it's two"), "755".to_owned(), "2".to_owned()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(b"onetw").unwrap();
        assert!(shell.wait().unwrap().success());
        for (name, mode, content) in [("a/b/one", 0o640, "one"), ("a/empty", 0o600, ""), ("it's two", 0o755, "tw")] {
            assert_eq!(std::fs::read_to_string(path(name)).unwrap(), content);
            assert_eq!(std::fs::metadata(path(name)).unwrap().permissions().mode() & 0o7777, mode, "{name}");
        }
        assert_eq!(std::fs::metadata(path("a/b")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(std::fs::read_dir(path("a")).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn a_file_is_on_the_innermost_mount() {
        let mounts = ["/var", "/var/lib/etcd"].map(PathBuf::from);
        assert_eq!(place(&mounts, Path::new("/var/lib/etcd/a")), Path::new("/var/lib/etcd"));
        assert_eq!(place(&mounts, Path::new("/var/lib/etcd2")), Path::new("/var"));
        assert_eq!(place(&mounts, Path::new("/etc/a")), Path::new("/"));
    }

    #[test]
    fn links_are_relative_to_their_directory() {
        assert_eq!(resolve(Path::new("/etc/x"), Path::new("y")), Path::new("/etc/y"));
        assert_eq!(resolve(Path::new("/etc/x"), Path::new("/run/y")), Path::new("/run/y"));
    }
}
