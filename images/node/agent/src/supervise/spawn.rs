//! The start of a component's process.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid, setsid};

use super::reaper::{Reaper, Running};
use crate::capacity::View;
use crate::components::{Process, Readiness};
use crate::error::{Doing, Result};
use crate::{files, paths, proxy};

/// The nice value of urgent components (`man 2 setpriority`): about nine times the weight of the others.
const URGENT_NICE: libc::c_int = -10;

/// Starts `process`. Both its outputs go straight to its log file.
pub(super) fn spawn(process: &Process, view: &View, reaper: &Reaper) -> Result<Running> {
    for (name, content) in &process.files {
        files::write(&paths::rendered(name), content.as_bytes(), 0o600)?;
    }
    let log = paths::log(process.name);
    let open = || OpenOptions::new().append(true).create(true).open(&log);
    let log = open().doing(|| format!("open {}", log.display()))?;
    let again = log.try_clone().doing(|| "duplicate a file descriptor".to_owned())?;
    let program = process.program();
    let mut command = Command::new(&program);
    command.args(&process.args).args(&process.formation).env("PATH", paths::PATH).current_dir("/");
    command.stdin(Stdio::null()).stdout(log).stderr(again);
    if matches!(process.readiness, Readiness::Notify | Readiness::Voter | Readiness::Gate) {
        command.env("NOTIFY_SOCKET", Path::new(paths::NOTIFY).join(process.name));
    }
    if process.proxied {
        command.envs(proxy::variables());
    }
    let view = (process.bounded_view && !view.is_empty()).then(|| view.clone());
    // Process 1 takes everything with it when it ends; otherwise the components must not outlive the agent.
    let agent = getpid();
    let tied = agent.as_raw() != 1;
    let urgent = process.urgent;
    at_birth(&mut command, move || {
        setsid()?;
        if tied {
            prctl::set_pdeathsig(Signal::SIGTERM)?;
            // If the agent has ended before this call, no signal comes.
            if getppid() != agent {
                return Err(Errno::ESRCH);
            }
        }
        if let Some(view) = &view {
            view.enter()?;
        }
        if urgent {
            prefer();
        }
        Ok(())
    });
    reaper.spawn(&mut command).doing(|| format!("start {}", program.display()))
}

/// Raises the priority of this process, if the machine allows it.
#[allow(unsafe_code)]
fn prefer() {
    // SAFETY: a system call on plain numbers.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, URGENT_NICE) };
}

/// Runs `steps` in the new process before its program.
#[allow(unsafe_code)]
fn at_birth(command: &mut Command, steps: impl Fn() -> nix::Result<()> + Send + Sync + 'static) {
    // SAFETY: the agent has a single thread, so no lock can be held by another one at the fork, and the steps are
    // system calls on data made before it.
    unsafe { command.pre_exec(move || Ok(steps()?)) };
}
