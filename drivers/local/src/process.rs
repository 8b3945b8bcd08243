//! Waits for the end of processes (pidfd_open(2)), and ends those that must not outlive kcl.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use kcl_driver_api::Result;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid};

use crate::context::Context as _;

/// Waits for the end of the process `pid`, which `fd` stands for; false if it did not end in time.
pub fn wait(fd: &OwnedFd, pid: i32, limit: Duration) -> Result<bool> {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // The time is rounded up, as a remainder of less than a millisecond would spin.
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error).with_context(|| format!("wait for process {pid}")),
        }
    }
}

/// Makes the kernel kill the command when this process is killed, so that it does not continue unattended. The signal
/// comes when the thread that starts the command ends (PR_SET_PDEATHSIG(2const)), so that thread must wait for it.
#[allow(unsafe_code)]
pub fn tie(command: &mut Command) {
    let parent = getpid();
    let tied = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // An end before that call has sent no signal.
        if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    // SAFETY: prctl(2) and getppid(2) are async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(tied) };
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_tied_command_ends_with_its_starter() {
        let start = || {
            let mut command = Command::new("sleep");
            tie(&mut command);
            command.arg("1000").spawn().unwrap()
        };
        let mut child = std::thread::spawn(start).join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
    }
}
