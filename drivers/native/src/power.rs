//! Powering a machine on and off.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kcl_driver_api::{Error, ErrorKind, MachineSpec, Result};
use nix::sys::prctl;
use rustix::process::Signal;

use crate::Context;
use crate::cgroup;
use crate::disk;
use crate::doing::{Doing, blocking};
use crate::host::{self, Cgroups, Lends};
use crate::layout::MachineNames;
use crate::mounts;
use crate::netlink::{self, Netlink};
use crate::oci;
use crate::process::{self, Process};

/// How much of a console is shown where runc failed, in bytes.
const CONSOLE_TAIL: usize = 2000;

/// How long what was killed may take to end.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// Starts the machine and returns when its first process runs.
pub(crate) async fn on(context: &Arc<Context>, names: &MachineNames, spec: MachineSpec) -> Result<()> {
    if Process::init(names).is_some() {
        return Ok(());
    }
    let runc = runc(context)?;
    // What a crash, a kill or an end of its own left of the boot before.
    clear(context, names).await?;
    let result = async {
        plug_in(names, &spec).await?;
        let names = names.clone();
        blocking(move || run(&runc, &names, &spec)).await
    }
    .await;
    if result.is_err() {
        clear(context, names).await.unwrap_or_else(|error| tracing::warn!("after a failed power-on: {error}"));
    }
    result
}

/// Asks the machine to end, waits, kills what is left, and removes all that only a running machine has.
pub(crate) async fn off(context: &Arc<Context>, names: &MachineNames, grace: Duration) -> Result<()> {
    if let Some(init) = Process::init(names)
        && !grace.is_zero()
    {
        let mark = names.stopping();
        blocking(move || {
            // First: who comes after a kcl that is killed here must not take the machine for one that stays.
            fs::write(&mark, "").doing(|| format!("write {}", mark.display()))?;
            init.signal(Signal::TERM)?;
            init.wait(grace).map(|_| ())
        })
        .await?;
    }
    clear(context, names).await
}

/// Kills what runs of the machine, at once, and removes its control groups, its link and runc's state: everything on
/// the host but its directory. By name, so nothing needs to be whole, or there.
pub(crate) async fn clear(context: &Arc<Context>, names: &MachineNames) -> Result<()> {
    let (runc, of_machine) = (context.runc.clone(), names.clone());
    blocking(move || {
        let names = of_machine;
        if let Some(init) = Process::init(&names) {
            process::kill_all(&[init.pid], KILL_LIMIT)?;
        }
        cgroup::clear(&names)?;
        if host::cgroups() == Cgroups::V2Systemd && names.runc_state().exists() {
            // Lets systemd forget the scope, also where it counts as failed.
            forget_scope(runc.as_deref(), &names);
        }
        disk::remove_tree(&names.runc_state())
    })
    .await?;
    // The peer goes with it, wherever it is: explicitly, as its namespace ends some time after its processes.
    let netlink = Netlink::connect()?;
    netlink.delete(&names.link).await
}

/// Gives the machine its link: in the bridge on this side, with the address on the other.
async fn plug_in(names: &MachineNames, spec: &MachineSpec) -> Result<()> {
    let netlink = Netlink::connect()?;
    let bridge = netlink.link(&names.cluster.bridge).await?.ok_or_else(|| netlink::no_network(&spec.cluster))?;
    let subnets = netlink.addresses(&bridge).await?;
    let address = subnets.iter().find_map(|subnet| oci::address(spec, *subnet)).ok_or_else(|| {
        let found: Vec<String> = subnets.iter().map(|subnet| subnet.trunc().to_string()).collect();
        let message = format!(
            "the address {} of machine {} is not on the network of cluster {} ({})",
            spec.address,
            spec.name,
            spec.cluster,
            found.join(", ")
        );
        Error::new(ErrorKind::Conflict, message)
    })?;
    netlink.make_pair(&bridge, &names.link, &names.peer, names.mac, address).await
}

fn run(runc: &Path, names: &MachineNames, spec: &MachineSpec) -> Result<()> {
    let lends = Lends::gather()?;
    let config = names.dir.join("config.json");
    // Written anew for each boot, so it need not survive one.
    fs::write(&config, oci::config(names, spec, &lends).to_string()).doing(|| format!("write {}", config.display()))?;
    if lends.cgroups != Cgroups::V2Systemd {
        cgroup::reserve(names)?;
    }
    disk::make_private_directory(&names.cluster.runc_root())?;
    let console = open_console(&names.console())?;
    let status = mounts::in_private_namespace(|| {
        mounts::mount_root(names, spec)?;
        start(runc, names, &lends, &console)?.wait().doing(|| "wait for runc")
    })?;
    if status.success() {
        return Ok(());
    }
    let said = fs::read(names.console()).unwrap_or_default();
    let tail = String::from_utf8_lossy(&said[said.len().saturating_sub(CONSOLE_TAIL)..]).trim().to_owned();
    Err(Error::engine(format!("runc could not start machine {} ({status}): {tail}", spec.name)))
}

/// `runc run`: in the caller's mount namespace, of which the container's is a copy.
#[allow(unsafe_code)]
fn start(runc: &Path, names: &MachineNames, lends: &Lends, console: &File) -> Result<std::process::Child> {
    let what = || format!("run {}", runc.display());
    let mut command = Command::new(runc);
    command.arg("--root").arg(names.cluster.runc_root());
    if lends.cgroups == Cgroups::V2Systemd {
        command.arg("--systemd-cgroup");
    }
    command.args(["run", "--detach", "--bundle"]).arg(&names.dir).arg(&names.name);
    command.stdin(Stdio::null());
    command.stdout(console.try_clone().doing(what)?).stderr(console.try_clone().doing(what)?);
    // Meant for us where a service manager started us; runc would hand them on.
    command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS").env_remove("LISTEN_PID");
    // A kcl that is killed must leave no runc behind that goes on making the machine. The signal comes when the
    // thread ends that forked; that thread waits for runc.
    let with_us = || prctl::set_pdeathsig(nix::sys::signal::SIGKILL).map_err(Into::into);
    // SAFETY: prctl(2) is async-signal-safe and nothing is allocated.
    unsafe { command.pre_exec(with_us) };
    command.spawn().doing(what)
}

/// Emptied, and open for appending, as several processes write to it.
fn open_console(path: &Path) -> Result<File> {
    let what = || format!("write {}", path.display());
    File::options().create(true).write(true).truncate(true).mode(0o600).open(path).doing(what)?;
    File::options().append(true).open(path).doing(what)
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

/// The runc to run machines with.
pub(crate) fn runc(context: &Context) -> Result<PathBuf> {
    let message = match &context.runc {
        Some(runc) if runc.is_file() => return Ok(runc.clone()),
        Some(runc) => format!("there is no runc at {}", runc.display()),
        None => "the native driver was given no runc".to_owned(),
    };
    Err(Error::new(ErrorKind::Host, message))
}
