//! A process of this host, whose end is known only if it is proven: the same number may mean another process in another
//! container, after a reboot, or where processes of others are hidden.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use kcl_driver_local::names;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::digest;

/// The kernel's random number for each boot (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A process, which is distinct from a later one with the same number, and from those of other hosts and containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProcessId {
    /// The number of the process.
    pub pid: u32,
    /// Its start: ticks since the host's start (field 22 of proc_pid_stat(5)).
    pub started: u64,
    /// The scope in which that number is the process's; an older kcl did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// The scope of numbers of processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Origin {
    /// The boot of the host.
    pub boot: String,
    /// The inode of the PID namespace (pid_namespaces(7)).
    pub namespace: u64,
    /// A digest of the host's number, if it has one.
    pub host: Option<String>,
}

/// The state of a process.
#[derive(Debug)]
pub enum Found {
    /// It runs; the descriptor is readable once it has ended (pidfd_open(2)).
    Running(OwnedFd),
    /// Its end is proven.
    Ended,
    /// It cannot be seen from here, for this reason.
    Unknown(String),
}

impl Origin {
    /// Returns the scope of this process.
    fn own() -> Option<Origin> {
        let namespace = std::fs::metadata("/proc/self/ns/pid").ok()?.ino();
        let host = names::machine_id().ok().map(|id| id.trim_ascii().to_owned()).filter(|id| !id.is_empty());
        let host = host.map(|id| digest::of_bytes(&id)[..16].to_owned());
        Some(Origin { boot: boot_id()?, namespace, host })
    }
}

impl ProcessId {
    /// Finds the process with this number.
    ///
    /// # Errors
    /// Fails if it does not exist or has ended.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(ProcessId { pid, started: start_of(pid)?, origin: Origin::own() })
    }

    /// Returns this process.
    ///
    /// # Errors
    /// Fails if `/proc` cannot be read.
    pub fn own() -> io::Result<Self> {
        ProcessId::of(std::process::id())
    }

    /// Returns the state of the process. Only a proven end is an end: no process has its number in the boot and the PID
    /// namespace that it is of, or one that was started at another time, or the same host has booted again.
    pub fn find(&self) -> Found {
        let (Some(origin), Some(here)) = (&self.origin, Origin::own()) else {
            return match self.open() {
                Found::Ended => Found::Unknown("an older kcl did not record on which host and when".to_owned()),
                found => found,
            };
        };
        if origin.boot != here.boot {
            return match origin.host.is_some() && origin.host == here.host && origin.namespace == here.namespace {
                true => Found::Ended,
                false => Found::Unknown("it is of another host, or of a container".to_owned()),
            };
        }
        if origin.namespace != here.namespace {
            return Found::Unknown("it is in another container (PID namespace)".to_owned());
        }
        self.open()
    }

    fn open(&self) -> Found {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Found::Ended };
        let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(Errno::SRCH) => return Found::Ended,
            Err(error) => return Found::Unknown(error.to_string()),
        };
        // Looked at after it was opened: from then on the number is of this process.
        let started = start_of(self.pid);
        match started {
            Ok(started) if started == self.started => Found::Running(descriptor),
            Ok(_) => Found::Ended,
            // It has ended since. Without that, /proc does not show it.
            Err(_) if has_ended(&descriptor) => Found::Ended,
            Err(error) => Found::Unknown(format!("/proc does not show it: {error}")),
        }
    }
}

/// Returns the kernel's random number for this boot.
pub(super) fn boot_id() -> Option<String> {
    std::fs::read_to_string(BOOT_ID).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Returns the start of a process that has not ended.
fn start_of(pid: u32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name in parentheses, which may hold anything; then follow those from the third on.
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ended = matches!(fields.next(), None | Some("Z" | "X" | "x"));
    let started = fields.nth(18).and_then(|field| field.parse().ok());
    started.filter(|_| !ended).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Tells whether the process of a descriptor has ended (pidfd_open(2)).
fn has_ended(descriptor: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::{WaitId, WaitIdOptions};

    use super::*;

    fn kind(found: Found) -> &'static str {
        match found {
            Found::Running(_) => "running",
            Found::Ended => "ended",
            Found::Unknown(_) => "unknown",
        }
    }

    #[test]
    fn only_a_proven_end_is_an_end() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(child.id()).unwrap();
        let origin = process.origin.clone().unwrap();
        let of = |origin| ProcessId { origin, ..process.clone() };
        // A later process with the same number.
        let later = ProcessId { started: process.started + 1, ..process.clone() };
        let namespace = Some(Origin { namespace: 1, ..origin.clone() });
        let boot = |host: Option<&str>| {
            Some(Origin { boot: "another".to_owned(), host: host.map(str::to_owned), ..origin.clone() })
        };
        assert_eq!(kind(process.find()), "running");
        assert_eq!(kind(later.find()), "ended");
        assert_eq!(kind(of(None).find()), "running");
        child.kill().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        assert_eq!(kind(process.find()), "ended", "a zombie");
        child.wait().unwrap();
        assert_eq!(kind(process.find()), "ended");
        assert_eq!(kind(of(namespace).find()), "unknown");
        assert_eq!(kind(of(boot(None)).find()), "unknown");
        assert_eq!(kind(of(boot(Some("another"))).find()), "unknown");
        assert_eq!(kind(of(None).find()), "unknown");
        if let Some(host) = &origin.host {
            assert_eq!(kind(of(boot(Some(host))).find()), "ended");
        }
    }

    #[test]
    fn what_an_older_kcl_wrote_is_read() {
        let process: ProcessId = serde_json::from_str(r#"{"pid": 1, "started": 5}"#).unwrap();
        assert_eq!(process, ProcessId { pid: 1, started: 5, origin: None });
    }
}
