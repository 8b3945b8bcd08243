//! Judging hosts: everything that stands in the way on any of them, all at once, before anything is changed.

use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use kcl_driver_api::{Finding, PreflightRequest, Result, Severity};
use kcl_driver_oci::host::has;
use kcl_ssh_host::protocol::{Facts, Request};

use crate::context::Context;
use crate::host::{Absent, Host};

/// What the bundled programs are made for.
const SYSTEM: &str = "Linux";
/// The oldest kernel: pidfds that namespaces can be entered by (5.8), volatile overlays (5.10).
const KERNEL: (u32, u32) = (5, 10);
/// Controllers without which the kubelet does not start.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
/// Capabilities without which no machine can be made.
const CAPABILITIES: [&str; 6] = ["SYS_ADMIN", "NET_ADMIN", "SYS_CHROOT", "SYS_PTRACE", "MKNOD", "SETPCAP"];
/// Bytes of disk for the files of a node that are sent.
const FILES: u64 = 700 << 20;
/// Bytes of disk that a node needs besides before it runs anything for its user.
const DISK: u64 = 512 << 20;
/// Bytes of memory that a node needs before it runs anything for its user.
const MEMORY: u64 = 300 << 20;
/// inotify instances that a node opens.
const INSTANCES: u64 = 36;
/// How far clocks may be apart, in ms: certificates are good from the moment on which they are made, less a little.
const CLOCK: u64 = 30_000;

/// Looks at all hosts and judges.
pub(crate) async fn preflight(context: &Context, request: &PreflightRequest) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut asked = Vec::new();
    let hosts = context.hosts_of(&request.cluster)?;
    for machine in &request.machines {
        match hosts.get(machine) {
            Some(target) => asked.push((machine, Host::of(target))),
            None => findings.push(error("host", Context::no_host(machine).message, None)),
        }
    }
    // By what they are called in the end; a way that is wrong is told below.
    let place = |host: &Host| host.route(&context.with.identity).ok()?.pop().map(|hop| hop.place);
    let places: Vec<_> = asked.iter().map(|(_, host)| place(host)).collect();
    for (index, (machine, host)) in asked.iter().enumerate() {
        let same = |other: &usize| places[index].is_some() && places[*other] == places[index];
        if let Some((other, _)) = (0..index).find(same).map(|other| asked[other].clone()) {
            let message = format!("host {} is named for both {other} and {machine}: a host is one node", host.name());
            findings.push(error("host-twice", message, None));
        }
    }
    let looked = join_all(asked.iter().map(|(_, host)| look(context, host, request)));
    findings.extend(looked.await.into_iter().flatten());
    Ok(findings)
}

/// What is wrong with one host.
async fn look(context: &Context, host: &Host, request: &PreflightRequest) -> Vec<Finding> {
    let name = host.name();
    let broken = |problem: kcl_driver_api::Error| Finding {
        severity: Severity::Error,
        id: "unreachable",
        message: problem.message,
        fix: problem.hint,
    };
    let connection = match host.connection(&context.with.identity).await {
        Ok(connection) => connection,
        Err(problem) => return vec![broken(problem)],
    };
    let wanted = format!("{SYSTEM} {}", std::env::consts::ARCH);
    if connection.system != wanted {
        let message =
            format!("host {name} is {}; the programs that kcl brings along are for {wanted}", connection.system);
        return vec![error("architecture", message, None)];
    }
    // The clocks are compared with that of the middle of the question.
    let before = now();
    let facts: Facts = match host.ask(&context.with, &Request::Facts { thorough: true }, Absent::Try).await {
        Ok(facts) => facts,
        Err(problem) => return vec![broken(problem)],
    };
    let clock = before + (now() - before) / 2;
    let mut found = judge(&name, &facts, request, clock);
    if connection.jumped {
        let message = format!(
            "host {name} is reached through another: its API and node ports are reached by its own address only, where there is a way to it"
        );
        found.push(warning("jump", message, None));
    }
    found
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn error(id: &'static str, message: String, fix: Option<String>) -> Finding {
    Finding { severity: Severity::Error, id, message, fix }
}

fn warning(id: &'static str, message: String, fix: Option<String>) -> Finding {
    Finding { severity: Severity::Warning, id, message, fix }
}

/// What is wrong with a host. Pure.
fn judge(name: &str, facts: &Facts, request: &PreflightRequest, clock: u64) -> Vec<Finding> {
    let mut found = Vec::new();
    let lacking: Vec<&str> = CAPABILITIES.into_iter().filter(|one| !has(facts.capabilities, one)).collect();
    if !lacking.is_empty() {
        let message = format!(
            "host {name} withholds the capabilities CAP_{} from root: it is a container",
            lacking.join(", CAP_")
        );
        found.push(error("capabilities", message, None));
    }
    let mut numbers = facts.kernel.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < KERNEL {
        let message = format!("host {name} has Linux {}; {}.{} or later is needed", facts.kernel, KERNEL.0, KERNEL.1);
        found.push(error("kernel", message, None));
    }
    match &facts.controllers {
        None => found.push(error(
            "cgroup-controllers",
            format!("host {name} has no control groups mounted"),
            Some("mount -t cgroup2 cgroup2 /sys/fs/cgroup".into()),
        )),
        Some(there) => {
            let missing: Vec<&str> =
                CONTROLLERS.into_iter().filter(|one| !there.iter().any(|have| have == one)).collect();
            if !missing.is_empty() {
                let message = format!(
                    "host {name} lacks the control group controllers {}; the kubelet needs them",
                    missing.join(", ")
                );
                found.push(error(
                    "cgroup-controllers",
                    message,
                    Some("add cgroup_enable=memory to its kernel's command line and reboot".into()),
                ));
            }
        }
    }
    if let Some(problem) = &facts.overlay {
        found.push(error(
            "overlayfs",
            format!("host {name}: {problem}"),
            Some("modprobe overlay, on that host".into()),
        ));
    }
    for (port, owner) in &facts.ports {
        let message = format!("host {name}: port {port}, which a node needs, is taken by {owner}");
        found.push(error("port", message, Some(format!("end it there; see it with: ss -ltnp sport = :{port}"))));
    }
    if !facts.rivals.is_empty() {
        let message = format!(
            "host {name} runs {} already: two nodes on a host are in each other's way",
            facts.rivals.join(", ")
        );
        found.push(error("rival", message, None));
    }
    let apart = facts.clock.abs_diff(clock);
    if apart > CLOCK {
        let way = if facts.clock > clock { "ahead of" } else { "behind" };
        let message = format!(
            "the clock of host {name} is {} s {way} this one's: certificates would not be good there",
            apart / 1000
        );
        found.push(error("clock", message, Some("set it there, with: timedatectl set-ntp true".into())));
    }
    for range in &request.ranges {
        if let Some((net, by)) = facts.networks.iter().find(|(net, _)| range.net.contains(net)) {
            let message = format!(
                "host {name} has {net} ({by}), which is within {}: a node takes all of that for its cluster",
                range.net
            );
            found.push(error("range", message, Some(range.fix.clone())));
        }
    }
    space(name, facts, request, &mut found);
    found
}

/// Disk, memory, CPUs, inotify.
fn space(name: &str, facts: &Facts, request: &PreflightRequest, found: &mut Vec<Finding>) {
    let needed = if facts.trees.is_empty() { FILES + DISK } else { DISK };
    if facts.disk_free < needed {
        let message = format!(
            "host {name} has {} free in {}; a node needs {}",
            mib(facts.disk_free),
            kcl_ssh_host::protocol::HOME,
            mib(needed)
        );
        found.push(error("disk-space", message, Some("free some there".into())));
    }
    if facts.memory_available < MEMORY {
        let message = format!(
            "host {name} has {} of memory left; a node needs about {}",
            mib(facts.memory_available),
            mib(MEMORY)
        );
        found.push(warning("memory", message, None));
    }
    if let Some(wanted) = request.memory.filter(|wanted| *wanted > facts.memory_total) {
        let message =
            format!("{} were asked for each machine; host {name} has {}", mib(wanted), mib(facts.memory_total));
        found.push(error("memory-limit", message, Some(format!("kcl start --memory {}Mi", facts.memory_total >> 21))));
    }
    if let Some(wanted) = request.cpus.filter(|wanted| *wanted as usize > facts.cpus) {
        let message = format!("{wanted} CPUs were asked for each machine; host {name} has {}", facts.cpus);
        found.push(error("cpus", message, Some(format!("kcl start --cpus {}", facts.cpus))));
    }
    if let Some(usage) = facts.inotify_instances.filter(|usage| usage.used + INSTANCES > usage.limit) {
        let message = format!(
            "fs.inotify.max_user_instances of host {name} is {}, of which {} are used; a node needs about {INSTANCES} more",
            usage.limit, usage.used
        );
        found.push(error(
            "inotify-instances",
            message,
            Some("sysctl -w fs.inotify.max_user_instances=1024, on that host".into()),
        ));
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use kcl_driver_api::ClusterRange;

    use super::*;

    fn good() -> Facts {
        Facts {
            system: "Debian GNU/Linux 12 (bookworm)".into(),
            kernel: "6.1.0-25-amd64".into(),
            systemd: true,
            capabilities: u64::MAX,
            controllers: Some(CONTROLLERS.map(String::from).to_vec()),
            clock: 1_000_000,
            disk_free: 10 << 30,
            memory_total: 4 << 30,
            memory_available: 3 << 30,
            cpus: 2,
            interfaces: Vec::new(),
            default: None,
            ports: Vec::new(),
            rivals: Vec::new(),
            networks: Vec::new(),
            trees: Vec::new(),
            overlay: None,
            inotify_instances: None,
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_and_names_the_host() {
        let range = |net: &str, fix: &str| ClusterRange { net: net.parse().unwrap(), fix: fix.into() };
        let ranges = vec![range("10.244.0.0/16", "change pods"), range("10.96.0.0/16", "change Services")];
        let request = PreflightRequest { cpus: Some(4), memory: Some(8 << 30), ranges, ..Default::default() };
        assert!(judge("a", &good(), &PreflightRequest::default(), 1_000_500).is_empty());
        let bad = Facts {
            kernel: "4.19.0".into(),
            capabilities: 0,
            controllers: Some(vec!["cpu".into(), "cpuset".into(), "pids".into()]),
            clock: 1_000_000,
            disk_free: 1 << 20,
            ports: vec![(6443, "haproxy".into())],
            rivals: vec!["kubelet".into()],
            overlay: Some("no overlay".into()),
            // One that only leads there too is no harm.
            networks: vec![
                ("10.0.0.0/8".parse().unwrap(), "route 10.0.0.0/8 by tun0".into()),
                ("10.96.3.0/24".parse().unwrap(), "interface eth1".into()),
            ],
            ..good()
        };
        let found = judge("a", &bad, &request, 1_090_000);
        let ids: Vec<_> = found.iter().map(|finding| finding.id).collect();
        let wanted = [
            "capabilities",
            "kernel",
            "cgroup-controllers",
            "overlayfs",
            "port",
            "rival",
            "clock",
            "range",
            "disk-space",
            "memory-limit",
            "cpus",
        ];
        assert_eq!(ids, wanted);
        assert!(found.iter().all(|finding| finding.message.contains("host a")), "{found:#?}");
        assert!(found[6].message.contains("90 s behind"), "{}", found[6].message);
        assert!(found[7].message.contains("10.96.3.0/24 (interface eth1)"), "{}", found[7].message);
        assert_eq!(found[7].fix.as_deref(), Some("change Services"));
    }
}
