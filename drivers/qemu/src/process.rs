//! Finds the QEMU process of a machine by the lock that it holds on its pid file.
//!
//! The kernel names the holder of a lock, and releases the lock with the process. So the id of a process that is gone
//! can never be mistaken for a running one, and files that a crash left have no meaning.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use kcl_driver_api::{Error, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::{lock, process};
use kcl_driver_vm::MachineNames;
use nix::fcntl::{FcntlArg, fcntl};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A QEMU that cannot be mistaken for a later process with its id.
pub(crate) struct Process {
    pub pid: i32,
    fd: OwnedFd,
}

/// Returns the file in which QEMU writes its process id.
pub(crate) fn pid_file(names: &MachineNames) -> PathBuf {
    names.run.join("pid")
}

impl Process {
    /// Opens the machine's process, if it runs.
    pub(crate) fn of(names: &MachineNames) -> Option<Process> {
        let file = File::options().read(true).write(true).open(pid_file(names)).ok()?;
        let pid = holder(&file)?;
        let fd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        // The id was the holder's before and is it after, so the descriptor stands for the holder.
        (holder(&file) == Some(pid)).then_some(Process { pid, fd })
    }

    /// Kills the process and waits for its end.
    pub(crate) fn kill(&self, limit: Duration) -> Result<()> {
        match pidfd_send_signal(&self.fd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("kill process {}", self.pid)),
        }
        if self.wait(limit)? {
            return Ok(());
        }
        let message = format!("QEMU (process {}) did not end within {} s of SIGKILL", self.pid, limit.as_secs());
        Err(Error::engine(message))
    }

    /// Waits for the end of the process; false if it did not end in time.
    pub(crate) fn wait(&self, limit: Duration) -> Result<bool> {
        process::wait(&self.fd, self.pid, limit)
    }
}

/// Returns the process that holds a lock on a file (`F_GETLK` of fcntl(2)).
fn holder(file: &File) -> Option<i32> {
    let mut lock = lock::whole_file();
    fcntl(file, FcntlArg::F_GETLK(&mut lock)).ok()?;
    (!lock::is_free(&lock) && lock.l_pid > 0).then_some(lock.l_pid)
}
