//! `kcl cp`: files and directories between this host and nodes, as archives over the machine's exec. What paths mean is
//! what they mean for `docker cp`.

mod node;
mod pack;
mod place;
mod unpack;

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use kcl_driver_api::{Exec, Machine, Stdout};
use tokio::task::JoinHandle;

pub use place::Place;

use super::interrupt::interruptible;
use super::nodes::machine;
use crate::app::App;
use crate::error::{Error, Id, Result};
use crate::images::compression;
use node::{Kind, Source};
use place::{Part, own_name};

/// A copy of files.
#[derive(Clone, Debug)]
pub struct CopyRequest {
    /// The files and directories.
    pub from: Vec<Place>,
    /// The destination; an existing directory if there are several sources.
    pub to: Place,
    /// A source that is a link stands for what it leads to.
    pub follow_link: bool,
}

/// Copies files and directories. If the target is an existing directory, the copy goes into it under its own name.
pub async fn copy(app: &App, cluster: &str, request: &CopyRequest) -> Result<()> {
    let CopyRequest { from, to, follow_link: follow } = request;
    let into = from.len() > 1;
    let work = async {
        for from in from {
            let copy = Copy { app, cluster, into, follow: *follow };
            for warning in copy.one(from, to).await? {
                app.progress.warn(warning);
            }
            if *to != Place::Stream {
                app.progress.info(format!("{from} is copied to {to}"));
            }
        }
        Ok(())
    };
    interruptible(work).await
}

/// The circumstances of a copy.
struct Copy<'c> {
    app: &'c App,
    cluster: &'c str,
    /// The target has to be a directory.
    into: bool,
    follow: bool,
}

impl Copy<'_> {
    /// Copies from one place to another. Returns warnings.
    async fn one(&self, from: &Place, to: &Place) -> Result<Vec<String>> {
        let machine = async |node: &Option<String>| machine(self.app, self.cluster, node.as_deref()).await;
        match (from, to) {
            (Place::Host(from), Place::Node(node, to)) => self.put(machine(node).await?.as_ref(), from, to).await,
            (Place::Node(node, from), Place::Host(to)) => self.get(machine(node).await?.as_ref(), from, to).await,
            (Place::Node(one, from), Place::Node(other, to)) => {
                let scratch = tempfile::tempdir().map_err(|error| on_host("make a directory", &error))?;
                let between = scratch.path().join("copy");
                let (one, other) = (machine(one).await?, machine(other).await?);
                let mut warnings = Copy { into: false, ..*self }.get(one.as_ref(), from, &between).await?;
                let own = match Part::of(from) {
                    Part::Contents => None,
                    _ => own_name(from).or(own_name(&node::look(one.as_ref(), from).await?.0)),
                };
                warnings.extend(self.send(other.as_ref(), &between, own, to).await?);
                Ok(warnings)
            }
            (Place::Node(node, from), Place::Stream) => self.write_out(machine(node).await?.as_ref(), from).await,
            (Place::Stream, Place::Node(node, to)) => self.read_in(machine(node).await?.as_ref(), to).await,
            _ => Err(Error::new(Id::FlagInvalid, format!("neither {from} nor {to} is in a node"))
                .hint("a place in a node is written NODE:PATH, or :PATH for the first node")),
        }
    }

    /// Copies from this host into a node.
    async fn put(&self, machine: &dyn Machine, from: &Path, to: &str) -> Result<Vec<String>> {
        let unable =
            |error: io::Error| Error::new(Id::FileUnusable, format!("{} cannot be copied: {error}", from.display()));
        let text = from.to_string_lossy();
        let part = Part::of(&text);
        let real = from.canonicalize();
        let own = match part {
            Part::Contents => None,
            _ => own_name(&text).or_else(|| own_name(&real.as_ref().ok()?.to_string_lossy())),
        };
        let from = if part == Part::Whole && !self.follow && own_name(&text).is_some() {
            from.to_owned()
        } else {
            real.map_err(unable)?
        };
        let metadata = from.symlink_metadata().map_err(unable)?;
        if part != Part::Whole && !metadata.is_dir() {
            return Err(unable(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        self.send(machine, &from, own, to).await
    }

    /// Sends a file or directory to a node. Without a name of its own, a directory's contents go into the target.
    async fn send(&self, machine: &dyn Machine, from: &Path, own: Option<String>, to: &str) -> Result<Vec<String>> {
        let is_directory = from.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        let (directory, name) = self.target(machine, to, own, is_directory).await?;
        let (read, write) = io::pipe().map_err(|error| on_host("make a pipe", &error))?;
        let from = from.to_owned();
        let packing = tokio::task::spawn_blocking(move || pack::pack(write, &from, &name));
        let output = machine.exec(node::extract(&directory, OwnedFd::from(read))).await?;
        let packed = ended(packing).await;
        node::received(machine, &output, to)?;
        packed.map_err(|error| on_host("read what is to be copied", &error))
    }

    /// Returns the directory of the target on a node, and the target's name there; `.` for the directory itself.
    async fn target(
        &self,
        machine: &dyn Machine,
        to: &str,
        own: Option<String>,
        is_directory: bool,
    ) -> Result<(String, String)> {
        let (real, kind) = node::look(machine, to).await?;
        let parent = |path: &str| Path::new(path).parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
        let refused = |why: &str| Err(node::not_copied(machine, to, why));
        match kind {
            Kind::Directory => Ok((real, own.unwrap_or_else(|| ".".to_owned()))),
            Kind::File if is_directory || self.into || to.ends_with('/') => refused("it is a file, and no directory"),
            Kind::File => Ok((parent(&real), own_name(&real).unwrap_or_default())),
            Kind::Other => refused("it is neither a file nor a directory"),
            Kind::Absent if !self.into && (is_directory || !to.ends_with('/')) => {
                Ok((parent(to), own_name(to).unwrap_or_default()))
            }
            Kind::Absent | Kind::Nowhere => {
                Err(Error::new(Id::FileUnusable, format!("there is no directory for {to} in node {}", machine.name()))
                    .hint(format!("make it with: kcl ssh -n {} -- mkdir -p DIRECTORY", machine.name())))
            }
        }
    }

    /// Copies from a node to this host.
    async fn get(&self, machine: &dyn Machine, from: &str, to: &Path) -> Result<Vec<String>> {
        let source = Source::find(machine, from, self.follow).await?;
        let to = self.here(to, source.name.as_deref())?;
        // Beside the target, so that it gets there by a rename.
        let near = match to.symlink_metadata() {
            Ok(there) if there.is_dir() => to.clone(),
            Ok(there) if !there.is_file() && !there.is_symlink() => std::env::temp_dir(),
            _ => to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned(),
        };
        let failed = |error: &io::Error| on_host(&format!("write {}", to.display()), error);
        let aside = tempfile::Builder::new().prefix(".kcl-").tempdir_in(near).map_err(|error| failed(&error))?;
        let (command, archive) = node::piped(source.command()).map_err(|error| on_host("make a pipe", &error))?;
        let (name, place) = (source.entry.clone(), aside.path().to_owned());
        let unpacking = tokio::task::spawn_blocking(move || unpack::unpack(archive, &name, &place));
        // Our end of the pipe is closed together with the request.
        let output = machine.exec(command).await;
        let unpacked = match ended(unpacking).await {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(Error::new(Id::CopyFailed, format!("{from} cannot be copied: {error}")));
            }
            unpacked => unpacked,
        };
        let mut warnings = node::sent(machine, &output?, from)?;
        let unpacked = unpacked.map_err(|error| failed(&error))?;
        let Some(root) = &unpacked.root else { return Err(node::not_copied(machine, from, "the node sent nothing")) };
        let root_is_directory = root.is_dir() && !root.is_symlink();
        if root_is_directory && to.exists() && !to.is_dir() {
            let message = format!("{from} is a directory, and {} is not", to.display());
            return Err(Error::new(Id::FileUnusable, message));
        }
        if !root_is_directory && to.as_os_str().as_encoded_bytes().ends_with(b"/") && !to.is_dir() {
            return Err(no_directory(&to));
        }
        match to.metadata() {
            Ok(there) if !there.is_dir() && !there.is_file() => {
                let copied = File::open(root)
                    .and_then(|mut file| io::copy(&mut file, &mut File::options().write(true).open(&to)?));
                copied.map_err(|error| failed(&error))?;
            }
            _ => unpacked.place(&to).map_err(|error| failed(&error))?,
        }
        warnings.extend(unpacked.warnings);
        Ok(warnings)
    }

    /// Returns the path of a copy on this host.
    fn here(&self, to: &Path, own: Option<&str>) -> Result<PathBuf> {
        match own {
            Some(own) if to.is_dir() => Ok(to.join(own)),
            _ if self.into && !to.is_dir() => Err(no_directory(to)),
            // What a link leads to is replaced, and not the link.
            _ => Ok(to.canonicalize().unwrap_or_else(|_| to.to_owned())),
        }
    }

    /// Writes the archive of files of a node to standard output.
    async fn write_out(&self, machine: &dyn Machine, from: &str) -> Result<Vec<String>> {
        if io::stdout().is_terminal() {
            return Err(Error::new(Id::FlagInvalid, "an archive is not written to a terminal")
                .hint("send it on: kcl cp NODE:PATH - | tar -t"));
        }
        let source = Source::find(machine, from, self.follow).await?;
        let output = machine.exec(Exec { stdout: Stdout::Inherit, ..source.command() }).await?;
        node::sent(machine, &output, from)
    }

    /// Unpacks an archive from standard input in a directory of a node.
    async fn read_in(&self, machine: &dyn Machine, to: &str) -> Result<Vec<String>> {
        let (real, kind) = node::look(machine, to).await?;
        if kind != Kind::Directory {
            return Err(node::not_copied(machine, to, "an archive is unpacked in a directory that exists"));
        }
        let (read, write) = io::pipe().map_err(|error| on_host("make a pipe", &error))?;
        let passing = tokio::task::spawn_blocking(move || {
            let mut archive = compression::plain(io::stdin())?;
            io::copy(&mut archive, &mut File::from(OwnedFd::from(write)))
        });
        let output = machine.exec(node::extract(&real, OwnedFd::from(read))).await?;
        node::received(machine, &output, to)?;
        let passed = ended(passing).await;
        passed.map_err(|error| on_host("read the archive", &error))?;
        Ok(Vec::new())
    }
}

/// Waits for blocking work that reads or writes what a node sends or receives meanwhile.
async fn ended<T>(work: JoinHandle<io::Result<T>>) -> io::Result<T> {
    work.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn no_directory(to: &Path) -> Error {
    Error::new(Id::FileUnusable, format!("there is no directory {}", to.display()))
        .hint(format!("make it with: mkdir -p {}", to.display()))
}

fn on_host(what: &str, error: &io::Error) -> Error {
    Error::new(Id::HostFailed, format!("could not {what}: {error}"))
}
