//! Runs a machine, and ends what runs of it.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kcl_driver_api::{Error, ErrorKind, MachineSpec, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::process::tie;
use kcl_driver_local::storage;
use rustix::process::Signal;

use crate::cgroup;
use crate::config::{self, Attachment};
use crate::host::{self, Cgroups, Lends};
use crate::layout::MachineNames;
use crate::mounts;
use crate::process::{self, Process};

/// The number of bytes of a console that are shown if runc failed.
const CONSOLE_TAIL: usize = 2000;

/// The time that killed processes may take to end.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// Asks the first process to end and waits for it up to `grace`. [`clear`] ends what is left then.
pub fn ask_to_end(names: &MachineNames, grace: Duration) -> Result<()> {
    if let Some(init) = Process::init(names)
        && !grace.is_zero()
    {
        let mark = names.stopping();
        // First, so that after a kcl that is killed here the next does not take the machine for one that stays.
        fs::write(&mark, "").with_context(|| format!("write {}", mark.display()))?;
        init.signal(Signal::TERM)?;
        init.wait(grace)?;
    }
    Ok(())
}

/// Kills what runs of the machine at once, and removes its control groups and runc's state: everything on the host
/// except its directory and its attachment. It works by name, so nothing needs to be whole, or to exist.
pub fn clear(runc: Option<&Path>, names: &MachineNames) -> Result<()> {
    if let Some(init) = Process::init(names) {
        process::kill_all(&[init.pid], KILL_LIMIT)?;
    }
    cgroup::clear(names)?;
    if host::cgroups() == Cgroups::V2Systemd && names.runc_state().exists() {
        // Makes systemd forget the scope even if it counts as failed.
        forget_scope(runc, names);
    }
    storage::remove_tree(&names.runc_state())
}

/// Starts a machine of which nothing runs, and returns when its first process runs.
pub fn run(runc: &Path, names: &MachineNames, spec: &MachineSpec, attachment: Attachment<'_>) -> Result<()> {
    let lends = Lends::gather()?;
    let config = names.dir.join("config.json");
    let what = || format!("write {}", config.display());
    let content = config::config(names, spec, &lends, attachment).with_context(what)?;
    // Written again for each boot, so it need not survive one.
    fs::write(&config, serde_json::to_vec(&content).with_context(what)?).with_context(what)?;
    if lends.cgroups != Cgroups::V2Systemd {
        cgroup::reserve(names)?;
    }
    storage::make_private_directory(&names.cluster.runc_root())?;
    let console = open_console(&names.console())?;
    let status = mounts::in_private_namespace(|| {
        mounts::mount_root(names, spec)?;
        start(runc, names, &lends, &console)?.wait().with_context(|| "wait for runc")
    })?;
    if status.success() {
        return Ok(());
    }
    let said = fs::read(names.console()).unwrap_or_default();
    let tail = String::from_utf8_lossy(&said[said.len().saturating_sub(CONSOLE_TAIL)..]).trim().to_owned();
    Err(Error::engine(format!("runc could not start machine {} ({status}): {tail}", spec.name)))
}

/// Starts `runc run` in the caller's mount namespace, of which the container's is a copy.
fn start(runc: &Path, names: &MachineNames, lends: &Lends, console: &File) -> Result<std::process::Child> {
    let what = || format!("run {}", runc.display());
    let mut command = Command::new(runc);
    command.arg("--root").arg(names.cluster.runc_root());
    if lends.cgroups == Cgroups::V2Systemd {
        command.arg("--systemd-cgroup");
    }
    command.args(["run", "--detach", "--bundle"]).arg(&names.dir).arg(&names.name);
    command.stdin(Stdio::null());
    command.stdout(console.try_clone().with_context(what)?).stderr(console.try_clone().with_context(what)?);
    // These are for kcl itself if a service manager started it; runc would pass them on.
    command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS").env_remove("LISTEN_PID");
    // A kcl that is killed must not leave a runc behind that continues to make the machine.
    tie(&mut command);
    command.spawn().with_context(what)
}

/// Empties the console and opens it for appending, as several processes write to it.
fn open_console(path: &Path) -> Result<File> {
    let what = || format!("write {}", path.display());
    File::options().create(true).write(true).truncate(true).mode(0o600).open(path).with_context(what)?;
    File::options().append(true).open(path).with_context(what)
}

fn forget_scope(runc: Option<&Path>, names: &MachineNames) {
    let Some(runc) = runc.filter(|runc| runc.exists()) else { return };
    let mut command = Command::new(runc);
    command.arg("--root").arg(names.cluster.runc_root()).args(["--systemd-cgroup", "delete", "--force", &names.name]);
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => tracing::debug!("runc delete: {}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => tracing::debug!("could not run {}: {error}", runc.display()),
    }
}

/// Returns the runc to run machines with.
pub fn program(runc: Option<&Path>) -> Result<PathBuf> {
    let message = match runc {
        Some(runc) if runc.is_file() => return Ok(runc.to_owned()),
        Some(runc) => format!("there is no runc at {}", runc.display()),
        None => "the driver was given no runc".to_owned(),
    };
    Err(Error::new(ErrorKind::Host, message))
}
