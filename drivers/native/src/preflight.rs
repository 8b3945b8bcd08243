//! Judging the host: everything that stands in the way, all at once, each with the command that mends it. Pure.

use kcl_driver_api::{Finding, PreflightRequest, Severity};
use kcl_driver_oci::host;
use kcl_driver_oci::measures::Usage;

use crate::facts::Facts;
use crate::subnet;

/// inotify watches that a node needs.
const WATCHES: u64 = 2_000;
/// Bytes of memory that a node needs before it runs anything for its user.
const MEMORY: u64 = 300 << 20;
/// Bytes of disk that a node needs before it runs anything for its user.
const DISK: u64 = 512 << 20;
/// Open files that a node's processes need.
const OPEN_FILES: u64 = 4_096;
/// The oldest kernel: pidfds that namespaces can be entered by (5.8), volatile overlays (5.10).
const KERNEL: (u32, u32) = (5, 10);
/// Controllers without which the kubelet does not start.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
/// Capabilities without which no machine can be made.
const CAPABILITIES: [&str; 6] = ["SYS_ADMIN", "NET_ADMIN", "SYS_CHROOT", "SYS_PTRACE", "MKNOD", "SETPCAP"];

/// What is found, the gravest in the order in which a user would mend it.
pub(crate) fn judge(facts: &Facts, request: &PreflightRequest) -> Vec<Finding> {
    let checks: [fn(&Facts, &PreflightRequest) -> Option<Finding>; 15] = [
        root,
        capabilities,
        kernel,
        controllers,
        overlayfs,
        links,
        nf_tables,
        subnet_collision,
        inotify_instances,
        inotify_watches,
        open_files,
        cpus,
        memory_limit,
        memory,
        disk_space,
    ];
    checks.iter().filter_map(|check| check(facts, request)).collect()
}

fn error(id: &'static str, message: String, fix: Option<String>) -> Option<Finding> {
    Some(Finding { severity: Severity::Error, id, message, fix })
}

fn warning(id: &'static str, message: String, fix: Option<String>) -> Option<Finding> {
    Some(Finding { severity: Severity::Warning, id, message, fix })
}

fn root(facts: &Facts, _: &PreflightRequest) -> Option<Finding> {
    if facts.uid == 0 {
        return None;
    }
    let message = format!(
        "the native driver makes mounts, links and control groups and needs root; this is user {}. What the kernel can do was not tried",
        facts.uid
    );
    error("root", message, Some("sudo -E kcl start".into()))
}

fn capabilities(facts: &Facts, _: &PreflightRequest) -> Option<Finding> {
    let missing: Vec<String> = CAPABILITIES
        .iter()
        .filter(|name| !host::has(facts.capabilities, name))
        .map(|name| format!("CAP_{name}"))
        .collect();
    if missing.is_empty() {
        return None;
    }
    let message = format!(
        "the capabilities {} are not in kcl's bounding set: it runs in a container or sandbox that withholds them",
        missing.join(", ")
    );
    let fix = format!(
        "docker run {} …",
        missing.iter().map(|name| format!("--cap-add={name}")).collect::<Vec<_>>().join(" ")
    );
    error("capabilities", message, Some(fix))
}

fn kernel(facts: &Facts, _: &PreflightRequest) -> Option<Finding> {
    let mut numbers = facts.kernel.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL {
        return None;
    }
    let message = format!("the kernel is {}; Linux {}.{} or later is needed", facts.kernel, KERNEL.0, KERNEL.1);
    error("kernel", message, None)
}

fn controllers(facts: &Facts, _: &PreflightRequest) -> Option<Finding> {
    let Some(there) = &facts.controllers else {
        let fix = format!("mount -t cgroup2 cgroup2 {}", host::CGROUPS);
        return error("cgroup-controllers", "no control groups are mounted".into(), Some(fix));
    };
    let missing: Vec<&str> = CONTROLLERS.into_iter().filter(|name| !there.iter().any(|one| one == name)).collect();
    if missing.is_empty() {
        return None;
    }
    let message = format!("the control group controllers {} are missing; the kubelet needs them", missing.join(", "));
    let fix = if missing == ["memory"] {
        "add cgroup_enable=memory to the kernel's command line and reboot".to_owned()
    } else {
        format!(
            "echo {} > {}/cgroup.subtree_control",
            missing.iter().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" "),
            host::CGROUPS
        )
    };
    error("cgroup-controllers", message, Some(fix))
}

fn overlayfs(facts: &Facts, _: &PreflightRequest) -> Option<Finding> {
    let problem = facts.overlay.as_ref()?;
    let message = format!(
        "{problem}. The kernel lacks overlayfs, or KCL_HOME is on a file system that it does not lie on (another overlay, NFS)"
    );
    error("overlayfs", message, Some("modprobe overlay, or set KCL_HOME to a directory on ext4, xfs or btrfs".into()))
}

fn links(facts: &Facts, _: &PreflightRequest) -> Option<Finding> {
    let problem = facts.links.as_ref()?;
    error(
        "bridge",
        format!("{problem}. The network of a cluster is a bridge with veth links"),
        Some("modprobe -a bridge veth".into()),
    )
}

fn nf_tables(facts: &Facts, _: &PreflightRequest) -> Option<Finding> {
    let problem = facts.filter.as_ref()?;
    let message =
        format!("{problem}. Nodes reach the network beyond by nftables masquerading, and kube-proxy needs nftables");
    error("nf-tables", message, Some("modprobe -a nf_tables nft_chain_nat nft_masq".into()))
}

fn subnet_collision(facts: &Facts, request: &PreflightRequest) -> Option<Finding> {
    let subnet = request.subnet?;
    let found: Vec<String> = subnet::collisions(subnet, &facts.taken, &facts.bridge)
        .map(|other| format!("{} ({})", other.by, other.net))
        .collect();
    if found.is_empty() {
        return None;
    }
    let fix = match subnet::propose(&facts.taken, &facts.bridge) {
        Some(free) => format!("kcl start --subnet {free}"),
        None => "kcl start --subnet <a free network>".into(),
    };
    error("subnet-collision", format!("the subnet {subnet} collides with {}", found.join(", ")), Some(fix))
}

fn inotify_instances(facts: &Facts, request: &PreflightRequest) -> Option<Finding> {
    let needed = request.inotify_instances;
    inotify(facts.inotify_instances, needed, request, "inotify-instances", "fs.inotify.max_user_instances", 1024)
}

fn inotify_watches(facts: &Facts, request: &PreflightRequest) -> Option<Finding> {
    let needed = WATCHES * request.machines.len() as u64;
    inotify(facts.inotify_watches, needed, request, "inotify-watches", "fs.inotify.max_user_watches", 1_048_576)
}

fn inotify(
    usage: Usage,
    needed: u64,
    request: &PreflightRequest,
    id: &'static str,
    sysctl: &str,
    enough: u64,
) -> Option<Finding> {
    if usage.used + needed <= usage.limit {
        return None;
    }
    let message = format!(
        "{sysctl} is {}, of which {} are used; {} machines need about {needed} more, or fail with \"too many open files\"",
        usage.limit,
        usage.used,
        request.machines.len()
    );
    let value = enough.max((usage.used + needed).next_power_of_two());
    error(id, message, Some(format!("sysctl -w {sysctl}={value}")))
}

fn open_files(facts: &Facts, _: &PreflightRequest) -> Option<Finding> {
    if facts.open_files >= OPEN_FILES {
        return None;
    }
    let message = format!("processes may have {} open files; nodes need {OPEN_FILES}", facts.open_files);
    warning("open-files", message, Some(format!("ulimit -Hn {OPEN_FILES}, or LimitNOFILE={OPEN_FILES} in the service")))
}

fn cpus(facts: &Facts, request: &PreflightRequest) -> Option<Finding> {
    let wanted = request.cpus.filter(|wanted| *wanted as usize > facts.cpus)?;
    let message = format!("{wanted} CPUs were asked for each machine; the host has {}", facts.cpus);
    error("cpus", message, Some(format!("kcl start --cpus {}", facts.cpus)))
}

fn memory_limit(facts: &Facts, request: &PreflightRequest) -> Option<Finding> {
    let wanted = request.memory?;
    if wanted > facts.memory_total {
        let message = format!("{} were asked for each machine; the host has {}", mib(wanted), mib(facts.memory_total));
        return error(
            "memory-limit",
            message,
            Some(format!("kcl start --memory {}", mib(facts.memory_total / 2).replace(' ', ""))),
        );
    }
    let all = wanted.saturating_mul(request.machines.len() as u64);
    if all <= facts.memory_total {
        return None;
    }
    let message = format!(
        "{} machines of {} may use {}; the host has {}",
        request.machines.len(),
        mib(wanted),
        mib(all),
        mib(facts.memory_total)
    );
    warning("memory-limit", message, None)
}

fn memory(facts: &Facts, request: &PreflightRequest) -> Option<Finding> {
    let needed = MEMORY * request.machines.len() as u64;
    if facts.memory_available >= needed {
        return None;
    }
    let message = format!(
        "{} of memory are available; {} machines need about {}",
        mib(facts.memory_available),
        request.machines.len(),
        mib(needed)
    );
    warning("memory", message, Some("kcl start --nodes 1, or end other programs".into()))
}

/// Bytes of disk without which a node cannot even begin: etcd lays down its log in pieces of 64 MiB.
const DISK_AT_LEAST: u64 = 128 << 20;

fn disk_space(facts: &Facts, request: &PreflightRequest) -> Option<Finding> {
    let needed = DISK * request.machines.len() as u64;
    if facts.disk_free >= needed {
        return None;
    }
    let home = facts.home.display();
    let message = format!(
        "{} are free in {home}; {} machines need about {}",
        mib(facts.disk_free),
        request.machines.len(),
        mib(needed)
    );
    let fix = Some("free some, or set KCL_HOME to a directory on a larger disk".into());
    if facts.disk_free < DISK_AT_LEAST * request.machines.len() as u64 {
        return error("disk-space", message, fix);
    }
    warning("disk-space", message, fix)
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests;
