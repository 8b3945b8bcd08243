//! `kcl cp`: files and directories between this host and nodes, as archives over the machine's exec.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kcl_driver_api::{Exec, Machine, Stdin, Stdout};

use super::interrupt::interruptible;
use super::nodes::machine;
use crate::app::App;
use crate::error::{Error, Family, Result};

/// One end of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A path on this host.
    Host(PathBuf),
    /// A path on a node; without a name, on the first one.
    Node(Option<String>, String),
}

impl Place {
    /// Reads `NODE:PATH`, `:PATH` or `PATH`.
    pub fn parse(word: &str) -> Self {
        match word.split_once(':') {
            Some((node, path)) if !node.contains('/') && !path.is_empty() => {
                Place::Node((!node.is_empty()).then(|| node.to_owned()), path.to_owned())
            }
            _ => Place::Host(PathBuf::from(word)),
        }
    }
}

/// Copies a file or directory. If the target is an existing directory, the copy goes into it under its own name.
pub async fn copy(app: &App, cluster: &str, from: &Place, to: &Place) -> Result<()> {
    let work = async {
        match (from, to) {
            (Place::Host(from), Place::Node(node, to)) => {
                put(machine(app, cluster, node.as_deref()).await?.as_ref(), from, to).await
            }
            (Place::Node(node, from), Place::Host(to)) => {
                get(machine(app, cluster, node.as_deref()).await?.as_ref(), from, to).await
            }
            (Place::Node(one, from), Place::Node(other, to)) => {
                let scratch = tempfile::tempdir().map_err(|error| on_host("make a directory", &error))?;
                let name = Path::new(from).file_name().unwrap_or_default();
                let between = scratch.path().join(name);
                get(machine(app, cluster, one.as_deref()).await?.as_ref(), from, &between).await?;
                put(machine(app, cluster, other.as_deref()).await?.as_ref(), &between, to).await
            }
            (Place::Host(_), Place::Host(_)) => Err(Error::new(Family::Usage, "neither place is in a node")
                .hint("a place in a node is written NODE:PATH, or :PATH for the first node")),
        }
    };
    interruptible(work).await
}

async fn put(machine: &dyn Machine, from: &Path, to: &str) -> Result<()> {
    let what = from.symlink_metadata();
    let what =
        what.map_err(|error| Error::new(Family::Usage, format!("{} cannot be copied: {error}", from.display())))?;
    let (parent, name) = target(machine, to, from.file_name().map(|name| name.to_string_lossy().into_owned())).await?;
    let (read, write) = io::pipe().map_err(|error| on_host("make a pipe", &error))?;
    let from = from.to_owned();
    let packing = tokio::task::spawn_blocking(move || {
        let mut archive = tar::Builder::new(write);
        archive.follow_symlinks(false);
        match what.is_dir() {
            true => archive.append_dir_all(&name, &from)?,
            false => archive.append_path_with_name(&from, &name)?,
        }
        archive.finish()
    });
    let argv = ["tar", "--extract", "--no-same-owner", "--file", "-", "--directory", &parent];
    let exec = Exec { stdin: Stdin::From(Arc::new(OwnedFd::from(read))), ..Exec::new(argv) };
    let output = machine.exec(exec).await?;
    let packed = packing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    check(machine, &output, &parent)?;
    packed.map_err(|error| on_host("read what is to be copied", &error))
}

/// Returns the directory of the target on a node, and the target's name there.
async fn target(machine: &dyn Machine, to: &str, own: Option<String>) -> Result<(String, String)> {
    let line = r#"if [ -d "$1" ]; then echo directory; elif [ -d "$(dirname "$1")" ]; then echo file; fi"#;
    let output = machine.exec(Exec::new(["sh", "-c", line, "sh", to])).await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let path = Path::new(to);
    match (said.trim(), own, path.file_name()) {
        ("directory", Some(own), _) => Ok((to.to_owned(), own)),
        ("file", _, Some(name)) if !to.ends_with('/') => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("/"));
            Ok((parent.to_string_lossy().into_owned(), name.to_string_lossy().into_owned()))
        }
        _ => Err(Error::new(Family::Usage, format!("there is no directory for {to} in node {}", machine.name()))
            .hint(format!("make it with: kcl ssh -n {} -- mkdir -p DIRECTORY", machine.name()))),
    }
}

async fn get(machine: &dyn Machine, from: &str, to: &Path) -> Result<()> {
    let path = Path::new(from);
    let (Some(name), parent) = (path.file_name(), path.parent().unwrap_or(Path::new("/"))) else {
        return Err(Error::new(Family::Usage, format!("{from} has no name that it could have here")));
    };
    let (parent, name) = (parent.to_string_lossy().into_owned(), name.to_string_lossy().into_owned());
    let to = if to.is_dir() { to.join(&name) } else { to.to_owned() };
    let (read, write) = io::pipe().map_err(|error| on_host("make a pipe", &error))?;
    let (own, unpacked) = (name.clone(), to.clone());
    let unpacking = tokio::task::spawn_blocking(move || unpack(File::from(OwnedFd::from(read)), &own, &unpacked));
    let parent = if parent.is_empty() { "/" } else { parent.as_str() };
    let argv = ["tar", "--create", "--file", "-", "--directory", parent, "--", &name];
    let exec = Exec { stdout: Stdout::To(Arc::new(OwnedFd::from(write))), ..Exec::new(argv) };
    // Our end of the pipe is closed together with the request.
    let output = machine.exec(exec).await?;
    let unpacked = unpacking.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    check(machine, &output, from)?;
    unpacked.map_err(|error| on_host(&format!("write {}", to.display()), &error))
}

/// Unpacks an archive of one file or directory called `name` as `to`. Always reads the archive to its end, including
/// the zeros that fill its last record: otherwise a process that still writes would fail.
fn unpack(mut archive: impl Read, name: &str, to: &Path) -> io::Result<()> {
    let unpacked = unpack_entries(&mut archive, name, to);
    io::copy(&mut archive, &mut io::sink())?;
    unpacked
}

/// Unpacks the entries; links in the archive cannot lead anything out of `to`.
fn unpack_entries(archive: impl Read, name: &str, to: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(archive);
    archive.set_preserve_permissions(true);
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if to.file_name().is_some_and(|own| own == name) {
        return archive.unpack(parent);
    }
    let aside = tempfile::tempdir_in(parent)?;
    archive.unpack(aside.path())?;
    std::fs::rename(aside.path().join(name), to)
}

fn check(machine: &dyn Machine, output: &kcl_driver_api::ExecOutput, what: &str) -> Result<()> {
    if output.code == 0 {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().next().unwrap_or_default().trim_start_matches("tar: ");
    Err(Error::new(Family::Usage, format!("{what} in node {} cannot be copied: {why}", machine.name())))
}

fn on_host(what: &str, error: &io::Error) -> Error {
    Error::new(Family::Host, format!("could not {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        let node = |name: Option<&str>, path: &str| Place::Node(name.map(str::to_owned), path.to_owned());
        assert_eq!(Place::parse("kcl-m02:/etc/hosts"), node(Some("kcl-m02"), "/etc/hosts"));
        assert_eq!(Place::parse(":/etc/hosts"), node(None, "/etc/hosts"));
        assert_eq!(Place::parse("./a:b"), Place::Host("./a:b".into()));
        assert_eq!(Place::parse("/etc/hosts"), Place::Host("/etc/hosts".into()));
    }

    #[test]
    fn archives_are_read_to_their_end() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        header.set_mode(0o644);
        archive.append_data(&mut header, "there", &b"hi"[..]).unwrap();
        let mut archive = archive.into_inner().unwrap();
        // More than a pipe holds.
        archive.resize(1 << 20, 0);
        let directory = tempfile::tempdir().unwrap();
        let unpacked = |to: &str| {
            let (read, mut write) = io::pipe().unwrap();
            let archive = archive.clone();
            let writing = std::thread::spawn(move || io::Write::write_all(&mut write, &archive));
            let unpacked = unpack(read, "there", &directory.path().join(to));
            writing.join().unwrap().unwrap();
            unpacked
        };
        for to in ["there", "here"] {
            unpacked(to).unwrap();
            assert_eq!(std::fs::read_to_string(directory.path().join(to)).unwrap(), "hi");
        }
        assert_eq!(unpacked("nowhere/here").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
