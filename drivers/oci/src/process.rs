//! Identifies processes, and waits for their end.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use kcl_driver_api::{Error, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::process;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Deserialize;

use crate::layout::MachineNames;

/// A process that cannot be mistaken for a later one with its number.
pub struct Process {
    /// The process id in kcl's namespace.
    pub pid: i32,
    fd: OwnedFd,
}

/// The fields of runc's `state.json` that are read.
#[derive(Deserialize)]
struct RuncState {
    init_process_pid: i32,
    init_process_start: u64,
}

impl Process {
    /// Opens the process with that id, if there is one.
    pub fn open(pid: i32) -> Option<Process> {
        let fd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        Some(Process { pid, fd })
    }

    /// Opens the first process of a machine, if it runs.
    pub fn init(names: &MachineNames) -> Option<Process> {
        let state = std::fs::read(names.runc_state().join("state.json")).ok()?;
        let state: RuncState = serde_json::from_slice(&state).ok()?;
        // It is opened first, so that what is read of /proc belongs to the process that the descriptor stands for, or
        // to none.
        let process = Process::open(state.init_process_pid)?;
        let (status, start) = stat(state.init_process_pid)?;
        (start == state.init_process_start && !matches!(status, 'Z' | 'X')).then_some(process)
    }

    /// Sends a signal; succeeds if the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        match pidfd_send_signal(&self.fd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("send {signal:?} to process {}", self.pid)),
        }
    }

    /// Waits for the end of the process; false if it did not end in time. The first process of a PID namespace ends
    /// after all others in it (pid_namespaces(7)).
    pub fn wait(&self, limit: Duration) -> Result<bool> {
        process::wait(&self.fd, self.pid, limit)
    }

    /// Returns the descriptor of the process, for entering its namespaces.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }
}

/// Kills processes and waits for their end.
pub fn kill_all(pids: &[i32], limit: Duration) -> Result<()> {
    let processes: Vec<Process> = pids.iter().filter_map(|pid| Process::open(*pid)).collect();
    for process in &processes {
        process.signal(Signal::KILL)?;
    }
    let end = Instant::now() + limit;
    for process in &processes {
        if !process.wait(end.saturating_duration_since(Instant::now()))? {
            return Err(Error::engine(format!(
                "process {} did not end within {} s of SIGKILL: it hangs in the kernel{}",
                process.pid,
                limit.as_secs(),
                waiting_in(process.pid).map(|place| format!(" (in {place})")).unwrap_or_default(),
            )));
        }
    }
    Ok(())
}

fn waiting_in(pid: i32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/wchan")).ok().filter(|place| place != "0")
}

/// Returns the state of a process and its start in clock ticks since boot, which with its id make it unique
/// (proc_pid_stat(5)).
fn stat(pid: i32) -> Option<(char, u64)> {
    parse_stat(&std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?)
}

fn parse_stat(stat: &str) -> Option<(char, u64)> {
    // The name, in brackets, may itself contain blanks and brackets.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_nasty_name() {
        let line = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 186256 1 1";
        assert_eq!(parse_stat(line), Some(('S', 186_256)));
        assert_eq!(parse_stat("42"), None);
    }

    #[test]
    fn killed_processes_are_waited_for() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::open(child.id() as i32).unwrap();
        assert!(!process.wait(Duration::ZERO).unwrap());
        kill_all(&[process.pid], Duration::from_secs(60)).unwrap();
        assert!(process.wait(Duration::ZERO).unwrap());
        child.wait().unwrap();
    }
}
