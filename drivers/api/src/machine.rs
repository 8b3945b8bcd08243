//! A machine: what kcl asks for, and what it can do with one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Addresses, Error, ErrorKind, Exec, ExecOutput, Result};

/// How a tree of files is used in a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "use")]
pub enum TreeUse {
    /// Never written: may be shared by all machines (a read-only bind mount, a baked image layer, a copy).
    ReadOnly,
    /// The machine's own from then on. Files that never change in place may be hard links to the source; those whose
    /// names end in one of `copied` are written in place and must be true copies. Laid down once, at creation.
    Seed {
        /// File name endings of what is written in place.
        copied: Vec<String>,
    },
}

/// A directory of the host that a machine gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The directory on the host.
    pub source: PathBuf,
    /// Where it is in the machine, absolute.
    pub target: PathBuf,
    /// How it is used.
    #[serde(flatten)]
    pub usage: TreeUse,
}

/// A directory of this host that is in a machine too, live: what one side writes the other reads, inotify(7) included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostMount {
    /// The directory on this host, absolute.
    pub source: PathBuf,
    /// Where it is in the machine, absolute.
    pub target: PathBuf,
    /// Whether the machine may not write it.
    pub read_only: bool,
}

impl HostMount {
    /// Whether a machine could have it.
    ///
    /// # Errors
    /// `State` for a place that makes no sense, `NotFound` for a directory that is not there.
    pub fn check(&self) -> Result<()> {
        place(&self.target)?;
        directory(&self.source)
    }
}

/// As Docker writes them: `/home/me/src:/src:ro`.
impl std::fmt::Display for HostMount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mode = if self.read_only { ":ro" } else { "" };
        write!(f, "{}:{}{mode}", self.source.display(), self.target.display())
    }
}

/// The machine that kcl wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// The cluster it belongs to.
    pub cluster: String,
    /// Its name and host name, unique in the cluster: `kcl`, `kcl-m02`, …
    pub name: String,
    /// Its address on the cluster's network; stable over power cycles.
    pub address: Addresses,
    /// Whole CPUs it may use; none: all.
    pub cpus: Option<u32>,
    /// Its share of the host's CPUs while others want them too, in the terms of cgroup v2's `cpu.weight`: 1 to 10000,
    /// 100 is usual. A driver that cannot tell machines apart so leaves it.
    pub cpu_weight: u32,
    /// Bytes of memory it may use; none: all.
    pub memory: Option<u64>,
    /// The root file system as an unpacked directory, shared and never written.
    pub rootfs: PathBuf,
    /// What else it gets.
    pub trees: Vec<Tree>,
    /// Directories of the machine (absolute) that live on a real file system and survive power cycles, as volumes.
    /// Everything else that the machine writes survives too, but may lie on an overlay.
    pub volumes: Vec<PathBuf>,
    /// Ports of it that are reached on an address of the engine's host.
    #[serde(default)]
    pub ports: Vec<PublishedPort>,
    /// Directories of this host that are in it too; only for a machine that can ([`Capabilities::mounts`]).
    ///
    /// [`Capabilities::mounts`]: crate::Capabilities::mounts
    #[serde(default)]
    pub mounts: Vec<HostMount>,
    /// The first process.
    pub init: Vec<String>,
    /// Whose it is, for people and for other tools: `kcl.cluster`, `kcl.node`, `kcl.role`.
    pub labels: BTreeMap<String, String>,
}

impl MachineSpec {
    /// Whether a machine can be made from it, as far as that does not depend on the driver: asked by every driver before
    /// it makes anything. The trees have to be where this runs.
    ///
    /// # Errors
    /// `State` for a specification that makes no sense, `NotFound` for a tree that is not there.
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

/// Refuses what cannot be the place of something in a machine.
fn place(target: &Path) -> Result<()> {
    let plain = target.components().skip(1).all(|part| matches!(part, Component::Normal(_)));
    if target.is_absolute() && target != Path::new("/") && plain {
        return Ok(());
    }
    let problem = "is no place in a machine: it must be absolute, without \"..\" and not the root";
    Err(Error::new(ErrorKind::State, format!("{} {problem}", target.display())))
}

/// Refuses what is no directory of this host.
fn directory(source: &Path) -> Result<()> {
    match source.is_dir() {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::NotFound, format!("{} is no directory", source.display()))),
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
    /// Of both.
    pub protocol: Protocol,
}

/// As Docker writes them: `127.0.0.1:8080:80/tcp`.
impl std::fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}/{}", self.address, self.port, self.machine_port, self.protocol.name())
    }
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its name in nftables, Docker and everywhere else.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// Whether a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// It runs.
    Running,
    /// It was asked to end and has not yet, and who asked may be gone: a power-off goes on with it.
    Stopping,
    /// It is whole and does not run.
    Stopped,
    /// Its creation was cut off: it can only be deleted.
    Broken,
}

/// What the engine knows of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MachineInfo {
    /// The cluster it belongs to.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub power: Power,
    /// Its address, where it was given one.
    pub address: Option<Addresses>,
    /// Whose it is.
    pub labels: BTreeMap<String, String>,
}

/// A file to be written into a machine.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Where, absolute. Missing parents are made with mode 0755.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// What it holds.
    pub content: Vec<u8>,
}

/// Contents may be keys: only the path, the mode and the size are shown.
impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({} {:o} {} bytes)", self.path.display(), self.mode, self.content.len())
    }
}

/// A handle to a machine.
#[async_trait]
pub trait Machine: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// What the engine knows of it now.
    async fn info(&self) -> Result<MachineInfo>;

    /// Powers it on and returns when its first process runs. A running machine is left alone.
    async fn power_on(&self) -> Result<()>;

    /// Asks the first process to end (SIGTERM), waits for it up to `grace`, then kills what is left.
    /// Returns when nothing of it runs, no mount, link or cgroup of it is left.
    async fn power_off(&self, grace: Duration) -> Result<()>;

    /// Runs a command in it and waits for its end.
    async fn exec(&self, request: Exec) -> Result<ExecOutput>;

    /// Writes files into it, running or not; each whole or not at all (write, rename).
    async fn put(&self, files: &[File]) -> Result<()>;

    /// Reads a file of it, running or not.
    async fn get(&self, path: &std::path::Path) -> Result<Vec<u8>>;

    /// Has these directories of this host in the machine from now on, running or not, and no others of before.
    ///
    /// # Errors
    /// `State` where its [`Capabilities::mounts`](crate::Capabilities::mounts) is not [`Mounts::Live`].
    ///
    /// [`Mounts::Live`]: crate::Mounts::Live
    async fn set_mounts(&self, mounts: &[HostMount]) -> Result<()> {
        let _ = mounts;
        let message = format!("the directories of this host that are in machine {} cannot change", self.name());
        Err(Error::new(ErrorKind::State, message))
    }

    /// What its first process wrote on its console since it was last powered on.
    async fn console(&self) -> Result<Vec<u8>>;
}
