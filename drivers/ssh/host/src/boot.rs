//! Keeps a machine running: by a service of systemd if that manages the host, which also starts it after a boot, or
//! else by a process of kcl's own.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kcl_driver_api::{Error, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_oci::layout::MachineNames;
use kcl_driver_oci::process::Process;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The event that came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The machine's first process ended.
    Ended,
    /// This process was asked to end.
    Asked,
}

/// Catches SIGTERM, which then does not end this process any more.
pub(crate) fn requests_to_end() -> Result<SignalFd> {
    let what = || "listen for signals";
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.thread_block().with_context(what)?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).with_context(what)
}

/// Waits for either event.
pub(crate) fn ended_or_asked_to(process: &Process, requests: &SignalFd) -> Result<Which> {
    loop {
        let mut watched =
            [PollFd::new(process.fd().as_fd(), PollFlags::POLLIN), PollFd::new(requests.as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error).with_context(|| "wait for the machine's first process"),
            Ok(_) if watched[1].any().unwrap_or(false) => return Ok(Which::Asked),
            Ok(_) => return Ok(Which::Ended),
        }
    }
}

/// Returns true if systemd manages this host: sd_booted(3).
pub(crate) fn systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

fn unit(names: &MachineNames) -> String {
    format!("kcl-{}-{}.service", names.cluster_name, names.name)
}

fn unit_file(names: &MachineNames) -> PathBuf {
    names.dir.join(unit(names))
}

/// Starts the keeper of a machine that runs now.
pub(crate) fn keep(names: &MachineNames) -> Result<()> {
    let program = program()?;
    if !systemd() {
        return detached(&program, names);
    }
    let path = unit_file(names);
    fs::write(&path, service(&program, names)).with_context(|| format!("write {}", path.display()))?;
    systemctl(&["enable", "--quiet", &path.to_string_lossy()])?;
    systemctl(&["start", "--no-block", &unit(names)])
}

/// Removes the keeper of a machine that is not to run any more.
pub(crate) fn forget(names: &MachineNames) -> Result<()> {
    let path = unit_file(names);
    if !path.exists() || !systemd() {
        return Ok(());
    }
    // Stopped before it is removed; a service that ended with its machine may be unknown by now.
    systemctl(&["stop", &unit(names)]).or_else(|error| if is_loaded(names)? { Err(error) } else { Ok(()) })?;
    systemctl(&["disable", "--quiet", &unit(names)])?;
    fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    systemctl(&["daemon-reload"])?;
    // An unknown service is not a failure.
    let _ = systemctl(&["reset-failed", &unit(names)]);
    Ok(())
}

/// Returns the path of this program.
fn program() -> Result<PathBuf> {
    fs::read_link("/proc/self/exe").with_context(|| "find the program that runs")
}

fn service(program: &Path, names: &MachineNames) -> String {
    format!(
        "[Unit]\n\
         Description=Machine {machine} of the kcl cluster {cluster}\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         ExecStart={program} host keep {cluster} {machine}\n\
         Restart=on-failure\n\
         RestartSec=5\n\
         TimeoutStopSec=60\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        machine = names.name,
        cluster = names.cluster_name,
        program = program.display(),
    )
}

fn is_loaded(names: &MachineNames) -> Result<bool> {
    let output = Command::new("systemctl").args(["show", "--property=LoadState", "--value", &unit(names)]).output();
    let output = output.with_context(|| "run systemctl")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim() == "loaded")
}

fn systemctl(arguments: &[&str]) -> Result<()> {
    let output = Command::new("systemctl").args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| "run systemctl")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::engine(format!("systemctl {} failed: {said}", arguments.join(" "))))
}

/// Starts a process in a session of its own, whose parent ends at once.
fn detached(program: &Path, names: &MachineNames) -> Result<()> {
    let mut command = Command::new(program);
    command.args(["host", "keep", &names.cluster_name, &names.name]).current_dir("/").env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env("PATH", kcl_driver_oci::config::PATH);
    apart(&mut command);
    command.spawn().map(|_| ()).with_context(|| format!("run {}", program.display()))
}

#[allow(unsafe_code)]
fn apart(command: &mut Command) {
    let apart = || nix::unistd::setsid().map(|_| ()).map_err(Into::into);
    // SAFETY: setsid(2) is async-signal-safe and nothing is allocated.
    unsafe { command.pre_exec(apart) };
}
