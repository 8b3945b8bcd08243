//! Checks of a host for machines that share its kernel. Pure: each check judges facts, and all findings are reported at
//! once, each with the command that fixes it.

use kcl_driver_api::{Finding, PreflightRequest};
use kcl_driver_local::checks::{self, Disk};

use crate::facts::HostFacts;
use crate::host::{CGROUPS, has, is_since};

/// inotify watches that a node needs.
const WATCHES: u64 = 2_000;
/// Bytes of memory that a node needs before it runs anything for its user.
const MEMORY: u64 = 300 << 20;
/// Bytes of disk that a node needs before it runs anything for its user.
const DISK: u64 = 512 << 20;
/// Bytes of disk without which a node cannot even begin: etcd writes its log in pieces of 64 MiB.
const DISK_AT_LEAST: u64 = 128 << 20;
/// Open files that a node's processes need.
const OPEN_FILES: u64 = 4_096;
/// The oldest kernel: pidfds that namespaces can be entered by (5.8), volatile overlays (5.10).
const KERNEL: (u32, u32) = (5, 10);
/// Controllers without which the kubelet does not start.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
/// Capabilities without which no machine can be made.
const CAPABILITIES: [&str; 6] = ["SYS_ADMIN", "NET_ADMIN", "SYS_CHROOT", "SYS_PTRACE", "MKNOD", "SETPCAP"];

/// A host to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// The facts about it.
    pub facts: &'a HostFacts,
    /// Its name in messages: `the host`, `host root@10.0.0.5`.
    pub name: &'a str,
    /// True if the user runs commands for it elsewhere than here.
    pub is_remote: bool,
    /// Bytes of disk for what has to be sent to it first.
    pub to_send: u64,
}

type Check = fn(&Host<'_>, &PreflightRequest) -> Option<Finding>;

/// Judges what the kernel of a host can do, in the order in which a user would fix it.
pub fn kernel(host: &Host<'_>, request: &PreflightRequest) -> Vec<Finding> {
    run(&[capabilities, version, controllers, overlayfs], host, request)
}

/// Judges the limits and the room of a host.
pub fn capacity(host: &Host<'_>, request: &PreflightRequest) -> Vec<Finding> {
    let checks: [Check; 8] =
        [inotify_instances, inotify_watches, open_files, cpus, memory_limit, memory_sum, memory, disk_space];
    run(&checks, host, request)
}

fn run(checks: &[Check], host: &Host<'_>, request: &PreflightRequest) -> Vec<Finding> {
    checks.iter().filter_map(|check| check(host, request)).collect()
}

impl Host<'_> {
    /// Returns a command for this host with the place where it is to be run.
    fn there(&self, command: &str) -> String {
        if self.is_remote { format!("{command}, on that host") } else { command.to_owned() }
    }
}

fn capabilities(host: &Host<'_>, _: &PreflightRequest) -> Option<Finding> {
    let names = CAPABILITIES.iter().filter(|name| !has(host.facts.capabilities, name));
    let missing: Vec<String> = names.map(|name| format!("CAP_{name}")).collect();
    if missing.is_empty() {
        return None;
    }
    let message = format!(
        "{} withholds the capabilities {} from root: it is a container or sandbox",
        host.name,
        missing.join(", ")
    );
    let finding = Finding::error("capabilities", message);
    if host.is_remote {
        return Some(finding);
    }
    let flags: Vec<String> = missing.iter().map(|name| format!("--cap-add={name}")).collect();
    Some(finding.fix(format!("docker run {} …", flags.join(" "))))
}

fn version(host: &Host<'_>, _: &PreflightRequest) -> Option<Finding> {
    let (kernel, (major, minor)) = (&host.facts.kernel, KERNEL);
    let message = format!("{} has Linux {kernel}; {major}.{minor} or later is needed", host.name);
    (!is_since(kernel, KERNEL)).then(|| Finding::error("kernel", message))
}

fn controllers(host: &Host<'_>, _: &PreflightRequest) -> Option<Finding> {
    let id = "cgroup-controllers";
    let Some(mounted) = &host.facts.controllers else {
        let fix = host.there(&format!("mount -t cgroup2 cgroup2 {CGROUPS}"));
        return Some(Finding::error(id, format!("{} has no control groups mounted", host.name)).fix(fix));
    };
    let missing: Vec<&str> = CONTROLLERS.into_iter().filter(|name| !mounted.iter().any(|one| one == name)).collect();
    if missing.is_empty() {
        return None;
    }
    let list = missing.join(", ");
    let message = format!("{} lacks the control group controllers {list}; the kubelet needs them", host.name);
    let fix = if missing == ["memory"] {
        "add cgroup_enable=memory to its kernel's command line and reboot".to_owned()
    } else {
        let words: Vec<String> = missing.iter().map(|name| format!("+{name}")).collect();
        host.there(&format!("echo {} > {CGROUPS}/cgroup.subtree_control", words.join(" ")))
    };
    Some(Finding::error(id, message).fix(fix))
}

fn overlayfs(host: &Host<'_>, _: &PreflightRequest) -> Option<Finding> {
    let problem = host.facts.overlay.as_ref()?;
    let message = format!(
        "{problem}. The kernel of {} lacks overlayfs, or {} is on a file system without support for it (another overlay, \
         NFS)",
        host.name,
        host.facts.home.display()
    );
    let fix = if host.is_remote {
        host.there("modprobe overlay")
    } else {
        "modprobe overlay, or set KCL_HOME to a directory on ext4, xfs or btrfs".to_owned()
    };
    Some(Finding::error("overlayfs", message).fix(fix))
}

fn inotify_instances(host: &Host<'_>, request: &PreflightRequest) -> Option<Finding> {
    let needed = request.inotify_instances();
    let found = checks::inotify(host.name, "max_user_instances", host.facts.inotify_instances?, needed, request)?;
    Some(on_host(host, found))
}

fn inotify_watches(host: &Host<'_>, request: &PreflightRequest) -> Option<Finding> {
    let needed = WATCHES * request.machines.len() as u64;
    let found = checks::inotify(host.name, "max_user_watches", host.facts.inotify_watches?, needed, request)?;
    Some(on_host(host, found))
}

fn on_host(host: &Host<'_>, finding: Finding) -> Finding {
    Finding { fix: finding.fix.map(|fix| host.there(&fix)), ..finding }
}

fn open_files(host: &Host<'_>, _: &PreflightRequest) -> Option<Finding> {
    let allowed = host.facts.open_files;
    let message = format!("processes of {} may have {allowed} open files; nodes need {OPEN_FILES}", host.name);
    let fix = format!("ulimit -Hn {OPEN_FILES}, or LimitNOFILE={OPEN_FILES} in the service");
    (allowed < OPEN_FILES).then(|| Finding::warning("open-files", message).fix(host.there(&fix)))
}

fn cpus(host: &Host<'_>, request: &PreflightRequest) -> Option<Finding> {
    checks::cpus(host.name, host.facts.cpus as u64, request)
}

fn memory_limit(host: &Host<'_>, request: &PreflightRequest) -> Option<Finding> {
    checks::memory_limit(host.name, host.facts.memory_total, request)
}

fn memory_sum(host: &Host<'_>, request: &PreflightRequest) -> Option<Finding> {
    checks::memory_sum(host.name, host.facts.memory_total, request)
}

fn memory(host: &Host<'_>, request: &PreflightRequest) -> Option<Finding> {
    checks::memory(host.name, host.facts.memory_available, MEMORY, request)
}

fn disk_space(host: &Host<'_>, request: &PreflightRequest) -> Option<Finding> {
    let (facts, machines) = (host.facts, request.machines.len() as u64);
    let home = facts.home.display();
    let (place, fix) = match host.is_remote {
        true => (format!("{home} of {}", host.name), "free some there"),
        false => (home.to_string(), "free some, or set KCL_HOME to a directory on a larger disk"),
    };
    let needed = |each: u64| each * machines + host.to_send;
    Disk { place, free: facts.disk_free, needed: needed(DISK), at_least: needed(DISK_AT_LEAST) }.check(fix, request)
}

#[cfg(test)]
mod tests;
