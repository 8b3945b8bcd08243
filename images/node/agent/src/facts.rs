//! Facts about the machine under the node. They are detected, never assumed.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use kcl_node_spec::NodeSpec;
use kcl_node_spec::resolv_conf::{FILES, Resolvers};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use crate::paths::rendered;

/// The inode of the first process namespace of a kernel (`PROC_PID_INIT_INO` in `include/linux/proc_ns.h`).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// The value `host` of this variable, by which the engine reports that the network is the host's: nothing inside shows
/// it.
const SHARED_NETWORK: &str = "KCL_NETWORK";

/// `CAP_SYS_RESOURCE` of capabilities(7).
const CAP_SYS_RESOURCE: u32 = 24;

/// The OOM score adjustment of the agent where it can be lowered, which its children inherit (proc_pid_oom_score_adj(5)).
/// Pods have at least -997, so they are killed first; the kubelet and kube-proxy set -999 themselves.
pub(crate) const PROTECTED: i32 = -998;

/// The hierarchy of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cgroup {
    /// One hierarchy for each controller (version 1).
    V1,
    /// The unified hierarchy (version 2).
    V2,
}

/// The facts about the machine.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// True if the agent is process 1, so that it reaps orphans and owns the whole system.
    pub init: bool,
    /// True if the network namespace belongs to the node and not to a host.
    pub own_network: bool,
    /// The hierarchy of control groups.
    pub cgroup: Cgroup,
    /// True if CAP_SYS_RESOURCE is available.
    pub cap_sys_resource: bool,
    /// True if the OOM score of a process can be lowered.
    pub oom_adjustable: bool,
    /// True if the number of processes of a pod can be limited.
    pub pids: bool,
    /// True if the kernel can filter system calls (seccomp(2)).
    pub seccomp: bool,
    /// The resolver file that pods inherit, with a resolver that pods can reach.
    pub resolv_conf: PathBuf,
}

impl Facts {
    /// Detects the facts.
    pub(crate) fn detect(spec: &NodeSpec) -> Facts {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Facts {
            init: std::process::id() == 1,
            own_network: std::env::var_os(SHARED_NETWORK).is_none_or(|whose| whose != "host"),
            cgroup: match statfs("/sys/fs/cgroup") {
                Ok(found) if found.filesystem_type() == CGROUP2_SUPER_MAGIC => Cgroup::V2,
                _ => Cgroup::V1,
            },
            cap_sys_resource: bounding_set(&status) & (1 << CAP_SYS_RESOURCE) != 0,
            oom_adjustable: oom_adjustable(),
            pids: limits_processes(Path::new("/sys/fs/cgroup")),
            seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            resolv_conf: resolv_conf(spec),
        }
    }
}

/// Returns true if the kernel is the node's own: on a VM or a host, not in a container.
pub(crate) fn own_kernel() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == FIRST_PID_NAMESPACE)
}

/// Returns the capabilities that a process of this system can ever have, from `/proc/self/status`.
fn bounding_set(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
}

/// Returns true if control groups of either version have the controller `pids`.
fn limits_processes(root: &Path) -> bool {
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    root.join("pids").is_dir() || controllers.split_whitespace().any(|name| name == "pids")
}

/// Returns true if the OOM score can be lowered: lowers the agent's own by one and restores it.
fn oom_adjustable() -> bool {
    let path = "/proc/self/oom_score_adj";
    let Ok(before) = fs::read_to_string(path) else { return false };
    let Ok(score) = before.trim().parse::<i32>() else { return false };
    let write = |score: i32| {
        OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(score.to_string().as_bytes()))
    };
    write((score - 1).max(-1000)).is_ok() && write(score).is_ok()
}

fn resolv_conf(spec: &NodeSpec) -> PathBuf {
    if !spec.network.nameservers.is_empty() {
        return rendered("resolv.conf");
    }
    Resolvers::find().map_or(FILES[0], |(file, _)| file).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_bounding_set() {
        assert_eq!(bounding_set("Name:\tx\nCapBnd:\t000001fffeffffff\n") & (1 << CAP_SYS_RESOURCE), 0);
        assert_ne!(bounding_set("CapBnd:\t000001ffffffffff\n") & (1 << CAP_SYS_RESOURCE), 0);
    }
}
