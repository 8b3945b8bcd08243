//! Machines: their specification, and a handle to use one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Addresses, Error, ErrorKind, Exec, ExecOutput, Result};

/// The use of a tree of files in a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "use")]
pub enum TreeUse {
    /// The tree is never written, so all machines may share it (a read-only bind mount, a baked image layer, a copy).
    ReadOnly,
    /// The tree is copied once, at the machine's creation, and is its own from then on. Files that never change in
    /// place may be hard links to the source; those whose names end in one of `copied` are written in place and must be
    /// true copies.
    Seed {
        /// The endings of names of files that are written in place.
        copied: Vec<String>,
    },
}

/// A directory of the host that a machine gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The directory on the host.
    pub source: PathBuf,
    /// The path in the machine, absolute.
    pub target: PathBuf,
    /// The use of the tree.
    #[serde(flatten)]
    pub usage: TreeUse,
}

/// A directory of this host that is in a machine too, live: each side reads what the other writes, inotify(7) included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostMount {
    /// The directory on this host, absolute.
    pub source: PathBuf,
    /// The path in the machine, absolute.
    pub target: PathBuf,
    /// The machine must not write to it.
    pub read_only: bool,
}

impl HostMount {
    /// Checks that a machine could have it.
    ///
    /// # Errors
    /// `State` for a path that is not one in a machine, `NotFound` for a directory that does not exist.
    pub fn check(&self) -> Result<()> {
        place(&self.target)?;
        directory(&self.source)
    }
}

/// Formats it as Docker does: `/home/me/src:/src:ro`.
impl std::fmt::Display for HostMount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mode = if self.read_only { ":ro" } else { "" };
        write!(f, "{}:{}{mode}", self.source.display(), self.target.display())
    }
}

/// The machine that kcl wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// The cluster that the machine belongs to.
    pub cluster: String,
    /// The machine's name and host name, unique in the cluster: `kcl`, `kcl-m02`, …
    pub name: String,
    /// The address on the cluster's network; stable over power cycles.
    pub address: Addresses,
    /// Whole CPUs that the machine may use; none for all.
    pub cpus: Option<u32>,
    /// The machine's share of the host's CPUs under contention, in the terms of cgroup v2's `cpu.weight`: 1 to 10000,
    /// usually 100. A driver that cannot weigh machines ignores it.
    pub cpu_weight: u32,
    /// Bytes of memory that the machine may use; none for all.
    pub memory: Option<u64>,
    /// The root file system as an unpacked directory, shared and never written.
    pub rootfs: PathBuf,
    /// The other trees of files of the machine.
    pub trees: Vec<Tree>,
    /// Directories of the machine (absolute) that are volumes: they are on a real file system and survive power cycles.
    /// Other files survive too, but may be on an overlay.
    pub volumes: Vec<PathBuf>,
    /// The ports that are reached on an address of the engine's host.
    #[serde(default)]
    pub ports: Vec<PublishedPort>,
    /// The directories of this host that are in the machine too; only for a machine that supports them
    /// ([`Capabilities::mounts`]).
    ///
    /// [`Capabilities::mounts`]: crate::Capabilities::mounts
    #[serde(default)]
    pub mounts: Vec<HostMount>,
    /// The first process.
    pub init: Vec<String>,
    /// Labels for users and for other tools: `kcl.cluster`, `kcl.node`, `kcl.role`.
    pub labels: BTreeMap<String, String>,
}

impl MachineSpec {
    /// Checks that a machine can be made from it, as far as that does not depend on the driver. Every driver checks it
    /// before it makes anything. The trees have to be on this host.
    ///
    /// # Errors
    /// `State` for an invalid specification, `NotFound` for a tree that does not exist.
    pub fn check(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::new(ErrorKind::State, message));
        if self.init.is_empty() {
            return refuse(format!("the machine {} has no first process", self.name));
        }
        self.volumes.iter().chain(self.trees.iter().map(|tree| &tree.target)).try_for_each(|target| place(target))?;
        self.mounts.iter().try_for_each(HostMount::check)?;
        std::iter::once(&self.rootfs)
            .chain(self.trees.iter().map(|tree| &tree.source))
            .try_for_each(|one| directory(one))
    }
}

/// Refuses a path that cannot hold a directory in a machine.
fn place(target: &Path) -> Result<()> {
    let plain = target.components().skip(1).all(|part| matches!(part, Component::Normal(_)));
    if target.is_absolute() && target != Path::new("/") && plain {
        return Ok(());
    }
    let problem = "is not a path for a machine: it must be absolute, without \"..\" and not the root";
    Err(Error::new(ErrorKind::State, format!("{} {problem}", target.display())))
}

/// Refuses a path that is not a directory of this host.
fn directory(source: &Path) -> Result<()> {
    match source.is_dir() {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::NotFound, format!("{} is not a directory", source.display()))),
    }
}

/// A port of a machine that is reached on an address of the engine's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PublishedPort {
    /// The host's address.
    pub address: IpAddr,
    /// The host's port.
    pub port: u16,
    /// The machine's port.
    pub machine_port: u16,
    /// The protocol of both ports.
    pub protocol: Protocol,
}

/// Formats it as Docker does: `127.0.0.1:8080:80/tcp`.
impl std::fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}/{}", self.address, self.port, self.machine_port, self.protocol.name())
    }
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The Transmission Control Protocol.
    Tcp,
    /// The User Datagram Protocol.
    Udp,
}

impl Protocol {
    /// Returns its name in nftables, Docker and everywhere else.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// The power state of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// The machine runs.
    Running,
    /// The machine was asked to end and has not yet; a power-off resumes it if the first caller is gone.
    Stopping,
    /// The machine is whole and does not run.
    Stopped,
    /// The machine's creation was interrupted: it can only be deleted.
    Broken,
}

/// The facts about a machine that the engine knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MachineInfo {
    /// The cluster that the machine belongs to.
    pub cluster: String,
    /// The machine's name.
    pub name: String,
    /// The power state.
    pub power: Power,
    /// The address, if the machine was given one.
    pub address: Option<Addresses>,
    /// The labels of its specification.
    pub labels: BTreeMap<String, String>,
}

/// A file to be written into a machine.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// The path, absolute. Missing parents are made with mode 0755.
    pub path: PathBuf,
    /// The permission bits.
    pub mode: u32,
    /// The bytes of the file.
    pub content: Vec<u8>,
}

/// Shows only the path, the mode and the size, as contents may be keys.
impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({} {:o} {} bytes)", self.path.display(), self.mode, self.content.len())
    }
}

/// A handle to a machine.
#[async_trait]
pub trait Machine: Send + Sync {
    /// Returns the machine's name.
    fn name(&self) -> &str;

    /// Returns the facts that the engine knows now.
    async fn info(&self) -> Result<MachineInfo>;

    /// Powers the machine on and returns when its first process runs. A running machine is left alone.
    async fn power_on(&self) -> Result<()>;

    /// Asks the first process to end (SIGTERM), waits for it up to `grace`, then kills the rest. Returns when nothing
    /// of the machine runs, and no mount, link or cgroup is left.
    async fn power_off(&self, grace: Duration) -> Result<()>;

    /// Runs a command in the machine and waits for its end.
    async fn exec(&self, request: Exec) -> Result<ExecOutput>;

    /// Writes files into the machine, running or not; each whole or not at all (write, rename).
    async fn put(&self, files: &[File]) -> Result<()>;

    /// Reads a file of the machine, running or not.
    async fn get(&self, path: &std::path::Path) -> Result<Vec<u8>>;

    /// Makes exactly these directories of this host available in the machine from now on, running or not.
    ///
    /// # Errors
    /// `State` if [`Capabilities::mounts`](crate::Capabilities::mounts) is not [`Mounts::Live`].
    ///
    /// [`Mounts::Live`]: crate::Mounts::Live
    async fn set_mounts(&self, mounts: &[HostMount]) -> Result<()> {
        let _ = mounts;
        let message = format!("the directories of this host that are in machine {} cannot change", self.name());
        Err(Error::new(ErrorKind::State, message))
    }

    /// Returns the console output of the first process since the machine was last powered on.
    async fn console(&self) -> Result<Vec<u8>>;
}
