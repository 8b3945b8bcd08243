//! Gathers what a machine's container depends on in the host.

use std::fs;
use std::path::Path;
use std::process::Command;

use kcl_driver_api::Result;
use kcl_driver_local::context::Context as _;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use oci_spec::runtime::Capabilities;

use crate::cgroup;
use crate::measures::controllers;

/// The directory at which control groups are mounted.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// The layout of control groups, and their manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// There is a hierarchy for each controller.
    V1,
    /// There is one hierarchy, which kcl may change itself.
    V2,
    /// There is one hierarchy, which systemd manages and has to be asked for.
    V2Systemd,
}

/// The features of the host that a container can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lends {
    /// The layout of control groups.
    pub cgroups: Cgroups,
    /// kcl's capability bounding set: bit n is capability n (capabilities(7)).
    pub capabilities: u64,
    /// The number of open files that a process may be allowed.
    pub open_files: u64,
    /// Those of [`OPTIONAL_DEVICES`] that the host has.
    pub devices: Vec<&'static Device>,
    /// The number of processes that a machine may have, if that can be limited.
    pub processes: Option<i64>,
    /// Swap can be limited.
    pub swap_limit: bool,
    /// A tree of mounts can be made read-only as a whole: mount_setattr(2), since Linux 5.12.
    pub read_only_trees: bool,
}

/// A character device that a node can use if the host has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Device {
    /// The path, on the host and in the machine.
    pub path: &'static str,
    /// The major number, from Documentation/admin-guide/devices.txt.
    pub major: i64,
    /// The minor number.
    pub minor: i64,
    /// The permission bits.
    pub mode: u32,
}

/// The kernel log, FUSE and tunnels: the kubelet reads the first, workloads want the others.
pub const OPTIONAL_DEVICES: &[Device] = &[
    Device { path: "/dev/kmsg", major: 1, minor: 11, mode: 0o600 },
    Device { path: "/dev/fuse", major: 10, minor: 229, mode: 0o666 },
    Device { path: "/dev/net/tun", major: 10, minor: 200, mode: 0o666 },
];

/// Capabilities by number, from include/uapi/linux/capability.h.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The number of open files that a machine's processes are allowed if the host permits it.
const OPEN_FILES: u64 = 1_048_576;

/// The number of processes and threads of a machine where the host has many: some hundreds for each of 110 pods.
const PROCESSES: i64 = 32_768;

impl Lends {
    /// Examines the host.
    pub fn gather() -> Result<Lends> {
        let status = fs::read_to_string("/proc/self/status").with_context(|| "read /proc/self/status")?;
        let capabilities = bounding_set(&status);
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).with_context(|| "read the limit of open files")?;
        // With CAP_SYS_RESOURCE the limit can be raised up to the system's.
        let system = fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok());
        let allowed = if has(capabilities, "SYS_RESOURCE") { system.unwrap_or(hard) } else { hard };
        let cgroups = cgroups();
        let swap = match cgroups {
            Cgroups::V1 => Path::new(CGROUPS).join("memory/memory.memsw.limit_in_bytes").exists(),
            // The root group has no such file; a kernel with the memory controller and swap has it in the groups below.
            Cgroups::V2 | Cgroups::V2Systemd => Path::new("/proc/swaps").exists(),
        };
        Ok(Lends {
            cgroups,
            capabilities,
            open_files: allowed.min(OPEN_FILES),
            processes: processes()?,
            devices: OPTIONAL_DEVICES.iter().filter(|device| Path::new(device.path).exists()).collect(),
            swap_limit: swap,
            read_only_trees: is_since(&fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default(), (5, 12)),
        })
    }

    /// Returns the capabilities in the terms of the OCI runtime specification.
    pub fn capabilities(&self) -> Capabilities {
        let lent = CAPABILITIES.iter().enumerate().filter(|(bit, _)| self.capabilities & (1 << bit) != 0);
        lent.filter_map(|(_, name)| name.parse().ok()).collect()
    }
}

/// Returns the number of processes and threads that one machine may have: at most half of the host's, so that those of a
/// pod that only forks leave some to the host and to other machines.
fn processes() -> Result<Option<i64>> {
    let mountinfo = cgroup::mountinfo()?;
    let controllers = controllers(&cgroup::hierarchies(&mountinfo), &mountinfo).unwrap_or_default();
    let read = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
    let limits = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
    let half = limits.into_iter().filter_map(read).min().map(|all: i64| (all / 2).min(PROCESSES));
    Ok(half.filter(|_| controllers.iter().any(|name| name == "pids")))
}

/// Tells whether a kernel release, such as `6.1.0-37-amd64`, is at least a version.
pub(crate) fn is_since(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse().ok());
    numbers.next().zip(numbers.next()).is_some_and(|found| found >= version)
}

/// Tells whether a set contains a capability, named without `CAP_`.
pub fn has(set: u64, name: &str) -> bool {
    CAPABILITIES.iter().position(|known| *known == name).is_some_and(|bit| set & (1 << bit) != 0)
}

/// Returns the layout of control groups on this host.
pub fn cgroups() -> Cgroups {
    match statfs(CGROUPS) {
        Ok(found) if found.filesystem_type() == CGROUP2_SUPER_MAGIC => {
            // sd_booted(3)
            if Path::new("/run/systemd/system").is_dir() { Cgroups::V2Systemd } else { Cgroups::V2 }
        }
        _ => Cgroups::V1,
    }
}

/// Reads `CapBnd` of proc_pid_status(5).
pub fn bounding_set(status: &str) -> u64 {
    let field = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    field.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

/// Returns the version that a runc reports, such as `runc version 1.4.0`.
pub fn version(runc: &Path) -> Option<String> {
    let output = Command::new(runc).arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounding_set_without_sys_resource() {
        let set = bounding_set("Name:\tkcl\nCapEff:\t0\nCapBnd:\t000001fffeffffff\n");
        assert!(has(set, "SYS_ADMIN") && has(set, "CHECKPOINT_RESTORE"));
        assert!(!has(set, "SYS_RESOURCE"));
    }
}
