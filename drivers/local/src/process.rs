//! Waiting for the end of a process that a descriptor stands for (pidfd_open(2)).

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use kcl_driver_api::Result;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::doing::Doing;

/// Waits for the end of the process `pid`, which `fd` stands for; false if it did not end in time.
pub fn wait(fd: &OwnedFd, pid: i32, limit: Duration) -> Result<bool> {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // Rounded up: a rest of less than a millisecond would spin.
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error).doing(|| format!("wait for process {pid}")),
        }
    }
}
