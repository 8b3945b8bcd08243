//! Ends the containers of pods when the node stops.
//!
//! The kubelet and containerd leave containers running when they end, so the agent ends them as the kubelet would:
//! SIGTERM, a grace period, SIGKILL. They are found by their control groups, on a node as process 1 as well as on a
//! host.

use crate::console::say;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    pid: i32,
    /// The process namespace: a container's, a pod's, or the node's.
    namespace: String,
    /// True for the first process of its namespace, which the kernel protects from signals that it does not handle.
    first: bool,
    /// True if the process handles SIGTERM in any way.
    handles_term: bool,
}

/// Ends all containers; those that are left after `grace` are killed.
pub(super) async fn end(grace: Duration) {
    let deadline = Instant::now() + grace;
    let mut told = Vec::new();
    loop {
        let members = members();
        if members.is_empty() {
            return;
        }
        let late = Instant::now() >= deadline;
        for member in &members {
            if late || deaf(member, &members) {
                signal(member.pid, Signal::SIGKILL);
            } else if !told.contains(&member.pid) {
                told.push(member.pid);
                signal(member.pid, Signal::SIGTERM);
            }
        }
        any_ends(&members, if late { Duration::from_secs(1) } else { deadline - Instant::now() }).await;
        if late && self::members().len() >= members.len() {
            say(format_args!("{} processes of containers did not end", members.len()));
            return;
        }
    }
}

/// Returns true if SIGTERM has no effect on the process: alone in its namespace and without a handler it would just use
/// up the grace period.
fn deaf(member: &Member, all: &[Member]) -> bool {
    let alone = || all.iter().filter(|other| other.namespace == member.namespace).count() == 1;
    member.first && !member.handles_term && alone()
}

/// Returns when one of them ended, or after `limit`.
async fn any_ends(members: &[Member], limit: Duration) {
    let mut watched = Vec::new();
    for member in members {
        match pidfd(member.pid) {
            Ok(fd) => watched.push(fd),
            // The process ended before it could be watched.
            Err(_) => return,
        }
    }
    let first = std::future::poll_fn(|context| {
        let ended = watched.iter().any(|fd| fd.poll_read_ready(context).is_ready());
        if ended { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    });
    let _ = tokio::time::timeout(limit, first).await;
}

/// Opens a descriptor that is readable once the process has ended: pidfd_open(2).
#[allow(unsafe_code)]
fn pidfd(pid: i32) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the call takes two integers; a returned descriptor is new and has no other owner. An `OwnedFd` never
    // changes the descriptor that it owns.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(AsyncFd::register_with_interest(OwnedFd::from_raw_fd(fd as i32), Interest::READABLE)?)
    }
}

fn members() -> Vec<Member> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| member(pid, &Path::new("/proc").join(format!("{pid}")))).collect()
}

fn member(pid: i32, dir: &Path) -> Option<Member> {
    let group = fs::read_to_string(dir.join("cgroup")).ok()?;
    if !group.lines().any(in_pod) {
        return None;
    }
    let status = fs::read_to_string(dir.join("status")).ok()?;
    let status: HashMap<&str, &str> = status.lines().filter_map(|line| line.split_once(":\t")).collect();
    if status.get("State").is_some_and(|state| state.starts_with('Z')) {
        return None;
    }
    let namespace = fs::read_link(dir.join("ns/pid")).ok()?.to_string_lossy().into_owned();
    let ids: Vec<&str> = status.get("NSpid")?.split_whitespace().collect();
    let term = 1_u64 << (libc::SIGTERM - 1);
    let set = |name: &str| status.get(name).and_then(|set| u64::from_str_radix(set, 16).ok()).unwrap_or(0);
    Some(Member {
        pid,
        namespace,
        first: ids.last() == Some(&"1"),
        // The signal is caught by a handler, or blocked and awaited.
        handles_term: (set("SigCgt") | set("SigBlk")) & term != 0,
    })
}

/// Returns true if a line of `/proc/<pid>/cgroup` names a group of the kubelet's pods.
fn in_pod(line: &str) -> bool {
    line.splitn(3, ':').nth(2).is_some_and(|path| path.contains("/kubepods"))
}

fn signal(pid: i32, signal: Signal) {
    // The process may have just ended.
    let _ = kill(Pid::from_raw(pid), signal);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_told_by_their_control_group() {
        assert!(in_pod("4:memory:/kubepods/besteffort/pod1/abc"));
        assert!(in_pod("0::/kubepods/pod1/abc"));
        assert!(!in_pod("0::/kcl"));
        assert!(!in_pod("1:name=systemd:/"));
    }

    #[test]
    fn only_one_that_is_alone_and_handles_nothing_is_deaf() {
        let init = Member { pid: 9, namespace: "a".to_owned(), first: true, handles_term: false };
        let child = Member { pid: 10, first: false, ..init.clone() };
        let handler = Member { handles_term: true, ..init.clone() };
        assert!(deaf(&init, std::slice::from_ref(&init)));
        assert!(!deaf(&init, &[init.clone(), child]));
        assert!(!deaf(&handler, std::slice::from_ref(&handler)));
    }
}
