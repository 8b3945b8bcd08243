//! The end of a cluster by itself: at a time, with a process, or with the first of them.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use jiff::Timestamp;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

/// The lifetime of a cluster; unlimited by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lifetime {
    /// The time at which it ends.
    pub until: Option<Timestamp>,
    /// The process with which it ends.
    pub process: Option<ProcessId>,
}

/// A process of this host, which is distinct from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProcessId {
    /// The number of the process.
    pub pid: u32,
    /// Its start: ticks since the host's start (field 22 of proc_pid_stat(5)).
    pub started: u64,
}

impl Lifetime {
    /// Returns a lifetime until a time.
    pub fn until(time: Timestamp) -> Self {
        Lifetime { until: Some(time), process: None }
    }

    /// Returns true if nothing ends it.
    pub fn is_unlimited(&self) -> bool {
        *self == Lifetime::default()
    }

    /// Returns true if it is over.
    pub fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Timestamp::now())
            || self.process.is_some_and(|process| process.open().is_err())
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.until, self.process) {
            (None, None) => Ok(()),
            // Whole seconds are precise enough.
            (Some(until), None) => write!(f, "{}", until.strftime("%Y-%m-%dT%H:%M:%SZ")),
            (None, Some(process)) => write!(f, "with process {}", process.pid),
            (Some(until), Some(process)) => {
                write!(f, "{} or with process {}", until.strftime("%Y-%m-%dT%H:%M:%SZ"), process.pid)
            }
        }
    }
}

impl ProcessId {
    /// Finds the process with this number.
    ///
    /// # Errors
    /// Fails if it does not exist or has ended.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is the name in parentheses, which may hold anything; then follow those from the third on.
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ended = matches!(fields.next(), None | Some("Z" | "X" | "x"));
        let started = fields.nth(18).and_then(|field| field.parse().ok());
        match started {
            Some(started) if !ended => Ok(ProcessId { pid, started }),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Returns this process.
    ///
    /// # Errors
    /// Fails if `/proc` cannot be read.
    pub fn own() -> io::Result<Self> {
        ProcessId::of(std::process::id())
    }

    /// Returns a descriptor that is readable once the process has ended (pidfd_open(2)).
    ///
    /// # Errors
    /// Fails if it has ended.
    pub fn open(self) -> io::Result<OwnedFd> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
        // Looked at after it was opened: from then on the number is of this process.
        if ProcessId::of(self.pid)? == self { Ok(descriptor) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_lifetime_is_over_at_its_time() {
        let now = Timestamp::now();
        assert!(!Lifetime::default().is_over() && Lifetime::default().is_unlimited());
        assert!(Lifetime::until(now - Duration::from_secs(1)).is_over());
        assert!(!Lifetime::until(now + Duration::from_secs(60)).is_over());
    }

    #[test]
    fn a_lifetime_is_over_with_its_process() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(child.id()).unwrap();
        let lifetime = Lifetime { until: None, process: Some(process) };
        assert!(!lifetime.is_over());
        // Another one that got the number later.
        let other = ProcessId { started: process.started + 1, ..process };
        assert!(other.open().is_err());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(lifetime.is_over() && ProcessId::of(process.pid).is_err());
    }

    #[test]
    fn a_lifetime_reads_as_when() {
        let until = Timestamp::from_second(0).unwrap();
        let process = ProcessId { pid: 7, started: 1 };
        assert_eq!(Lifetime::until(until).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Lifetime { until: None, process: Some(process) }.to_string(), "with process 7");
    }
}
