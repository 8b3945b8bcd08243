//! Image stores: a containerd root in which the system images are already unpacked. It is made once per host and seeded
//! into each node by hard links, as an import into each node would take seconds of CPU time while the control plane
//! starts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::net::UnixDatagram;
use tokio::process::Command;

use super::cache::trouble;
use super::job::Job;
use super::oci::Image;
use super::process::{self, Running};
use super::tree;
use crate::error::{Error, Id, Result};

/// The directory of a store's entry that is the containerd root.
pub const ROOT: &str = "root";

/// The containerd namespace of the CRI plugin.
const NAMESPACE: &str = "k8s.io";

/// The parts of containerd's root that are kept; each containerd recreates the others.
const KEPT: [&str; 4] = [
    "io.containerd.content.v1.content",
    "io.containerd.metadata.v1.bolt/meta.db",
    "io.containerd.snapshotter.v1.overlayfs/metadata.db",
    "io.containerd.snapshotter.v1.overlayfs/snapshots",
];

/// The plugins that an import does not need: those for containers, and snapshotters that probe the host.
const DISABLED: [&str; 22] = [
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
    "io.containerd.grpc.v1.cri",
    "io.containerd.grpc.v1.sandbox-controllers",
    "io.containerd.grpc.v1.sandboxes",
    "io.containerd.grpc.v1.tasks",
    "io.containerd.image-verifier.v1.bindir",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.internal.v1.tracing",
    "io.containerd.monitor.container.v1.restart",
    "io.containerd.monitor.task.v1.cgroups",
    "io.containerd.nri.v1.nri",
    "io.containerd.podsandbox.controller.v1.podsandbox",
    "io.containerd.service.v1.tasks-service",
    "io.containerd.shim.v1.manager",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.native",
    "io.containerd.snapshotter.v1.zfs",
];

/// Imports the images in `archive` into a fresh containerd root, and leaves the parts that a node needs in `partial`.
/// `bin` is the directory of containerd and ctr.
///
/// containerd runs with its own root, state and mount namespace, so it does not affect the host. That needs root.
pub async fn make(
    bin: &Path,
    images: &[Image],
    archive: &Path,
    partial: &Path,
    logs: &Path,
    job: &Job<'_>,
) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::new(Id::HostUnfit, "unpacking the system images needs root: containerd mounts overlays")
            .hint("run kcl with sudo"));
    }
    job.say("starting containerd", None);
    let containerd = Containerd::start(bin, &partial.join(".containerd"), &logs.join("containerd-import.log")).await?;
    job.say("importing", None);
    let mut import = containerd.ctr(["images", "import", "--snapshotter", "overlayfs"]);
    // The CRI plugin sets this label on images that it pulls.
    import.args(["--label", "io.cri-containerd.image=managed"]).arg(archive);
    process::output(import).await?;
    for image in images.iter().filter(|image| image.pinned) {
        let label = ["images", "label", &image.reference, "io.cri-containerd.pinned=pinned"];
        process::output(containerd.ctr(label)).await?;
    }
    let listed = process::output(containerd.ctr(["images", "ls", "-q"])).await?;
    let mut references = images.iter().flat_map(Image::references);
    if let Some(reference) = references.find(|reference| !listed.lines().any(|line| line == *reference)) {
        let message = format!("containerd imported {reference} but does not list it");
        return Err(Error::new(Id::ArtifactBuild, message).hint(format!("its log: {}", containerd.log.display())));
    }
    let from = containerd.stop().await?;
    let to = partial.join(ROOT);
    keep(&from, &to).map_err(|error| trouble("make", &to, error))?;
    let work = partial.join(".containerd");
    fs::remove_dir_all(&work).map_err(|error| trouble("remove", &work, error))
}

fn keep(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for path in KEPT {
        let target = to.join(path);
        fs::create_dir_all(target.parent().expect("it is below"))?;
        fs::rename(from.join(path), target)?;
    }
    Ok(())
}

/// Seeds a node's containerd root with a store: hard links to files that containerd never writes to, and copies of its
/// databases. `to` is created; owners and modes are kept.
pub fn seed(store: &Path, to: &Path) -> io::Result<()> {
    tree::link(store, to, |path| path.extension().is_some_and(|extension| extension == "db"))
}

/// A containerd that kcl runs for an import.
#[derive(Debug)]
pub struct Containerd {
    running: Running,
    bin: PathBuf,
    root: PathBuf,
    log: PathBuf,
    /// The directory of sockets; it is short, as the path of a socket may have 107 bytes.
    sockets: tempfile::TempDir,
}

impl Containerd {
    /// Starts the containerd of `bin` in `directory`, with `root` in there as its root, and waits until it is ready.
    pub async fn start(bin: &Path, directory: &Path, log: &Path) -> Result<Containerd> {
        let sockets = tempfile::Builder::new()
            .prefix("kcl-")
            .tempdir()
            .map_err(|error| trouble("make a directory in", &std::env::temp_dir(), error))?;
        let root = directory.join("root");
        let scratch = directory.join("scratch");
        fs::create_dir_all(&root).map_err(|error| trouble("make", &root, error))?;
        fs::create_dir_all(&scratch).map_err(|error| trouble("make", &scratch, error))?;
        let config = directory.join("config.toml");
        let text = configuration(&root, &scratch, sockets.path());
        fs::write(&config, text).map_err(|error| trouble("write", &config, error))?;
        let output = fs::File::create(log).map_err(|error| trouble("write", log, error))?;
        let again = output.try_clone().map_err(|error| trouble("write", log, error))?;

        let notify = sockets.path().join("notify");
        let socket = UnixDatagram::bind(&notify).map_err(|error| trouble("make", &notify, error))?;
        let mut command = Command::new(bin.join("containerd"));
        command.arg("--config").arg(&config).env("NOTIFY_SOCKET", &notify);
        command.env("TMPDIR", &scratch);
        command.stdin(Stdio::null()).stdout(output).stderr(again);
        let mut running = Running::spawn(command, true)?;
        let status = tokio::select! {
            served = serves(&socket) => { served.map_err(|error| trouble("read", &notify, error))?; None }
            status = running.wait() => Some(status?),
        };
        if let Some(status) = status {
            let text = fs::read_to_string(log).unwrap_or_default();
            let tail: Vec<_> = text.lines().rev().take(6).collect();
            let tail: Vec<_> = tail.into_iter().rev().map(|line| format!("  {line}")).collect();
            let message = format!("containerd ended before it was ready ({status}):\n{}", tail.join("\n"));
            return Err(Error::new(Id::ArtifactBuild, message).hint(format!("its log: {}", log.display())));
        }
        Ok(Containerd { running, bin: bin.to_owned(), root, log: log.to_owned(), sockets })
    }

    /// Returns a `ctr` command for it, in the namespace of the CRI plugin.
    pub fn ctr<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(self.bin.join("ctr"));
        command.arg("--address").arg(self.sockets.path().join("s")).args(["--namespace", NAMESPACE]).args(arguments);
        command
    }

    /// Stops containerd. Returns its root.
    pub async fn stop(self) -> Result<PathBuf> {
        let status = self.running.stop().await?;
        if status.success() {
            return Ok(self.root);
        }
        Err(Error::new(Id::ArtifactBuild, format!("containerd failed ({status})"))
            .hint(format!("its log: {}", self.log.display())))
    }
}

fn configuration(root: &Path, scratch: &Path, sockets: &Path) -> String {
    let mut config = toml::Table::new();
    let text = |path: &Path| toml::Value::from(path.to_string_lossy().into_owned());
    config.insert("version".into(), 3.into());
    config.insert("root".into(), text(root));
    config.insert("state".into(), text(&sockets.join("state")));
    config.insert("temp".into(), text(scratch));
    config.insert("disabled_plugins".into(), DISABLED.to_vec().into());
    config.insert("grpc".into(), toml::Table::from_iter([("address".to_owned(), text(&sockets.join("s")))]).into());
    config.insert("ttrpc".into(), toml::Table::from_iter([("address".to_owned(), text(&sockets.join("t")))]).into());
    config.to_string()
}

/// Waits until a service reports on `socket` that it is ready (`sd_notify(3)`).
async fn serves(socket: &UnixDatagram) -> io::Result<()> {
    let mut buffer = [0; 512];
    loop {
        let size = socket.recv(&mut buffer).await?;
        if String::from_utf8_lossy(&buffer[..size]).lines().any(|line| line == "READY=1") {
            return Ok(());
        }
    }
}
