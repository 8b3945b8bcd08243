//! Judges hosts: finds every obstacle on any of them at once, before anything is changed.

use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use kcl_driver_api::{Finding, PreflightRequest, Result};
use kcl_driver_oci::preflight::{self, Host as Judged};
use kcl_ssh_host::protocol::{Facts, Request};

use crate::context::Context;
use crate::host::{Absent, Host};

/// The system that the bundled programs are made for.
const SYSTEM: &str = "Linux";
/// Bytes of disk for the files of a node that are sent.
const FILES: u64 = 700 << 20;
/// The largest difference between clocks, in ms: certificates are valid from shortly before they were made.
const CLOCK: u64 = 30_000;

/// Examines all hosts and judges them.
pub(crate) async fn preflight(context: &Context, request: &PreflightRequest) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut named = Vec::new();
    let hosts = context.hosts_of(&request.cluster)?;
    for machine in &request.machines {
        match hosts.get(machine) {
            Some(target) => named.push((machine, context.pool.get(target))),
            None => findings.push(Finding::error("host", Context::no_host(machine).message)),
        }
    }
    // The final names of hosts; a wrong route is reported below.
    let place = |host: &Host| host.route(&context.with.identity).ok()?.pop().map(|hop| hop.place);
    let places: Vec<_> = named.iter().map(|(_, host)| place(host)).collect();
    for (index, (machine, host)) in named.iter().enumerate() {
        let same = |other: &usize| places[index].is_some() && places[*other] == places[index];
        if let Some((other, _)) = (0..index).find(same).map(|other| named[other].clone()) {
            let message = format!("host {} is named for both {other} and {machine}: a host is one node", host.name());
            findings.push(Finding::error("host-twice", message));
        }
    }
    let looked = join_all(named.iter().map(|(machine, host)| look(context, machine, host, request)));
    findings.extend(looked.await.into_iter().flatten());
    Ok(findings)
}

/// Examines one host and judges it.
async fn look(context: &Context, machine: &str, host: &Host, request: &PreflightRequest) -> Vec<Finding> {
    let name = host.name();
    let connection = match host.connection(&context.with.identity).await {
        Ok(connection) => connection,
        Err(error) => return vec![Finding::from_error("unreachable", error)],
    };
    let wanted = format!("{SYSTEM} {}", std::env::consts::ARCH);
    if connection.system != wanted {
        let message =
            format!("host {name} is {}; the programs that kcl brings along are for {wanted}", connection.system);
        return vec![Finding::error("architecture", message)];
    }
    // The host's clock is compared with the time halfway through the request.
    let before = now();
    let facts: Facts = match host.ask(&context.with, &Request::Facts { thorough: true }, Absent::Try).await {
        Ok(facts) => facts,
        Err(error) => return vec![Finding::from_error("unreachable", error)],
    };
    let clock = before + (now() - before) / 2;
    let request = PreflightRequest { machines: vec![machine.to_owned()], ..request.clone() };
    let mut found = judge(&Look { name: &name, facts: &facts, clock }, &request);
    if connection.jumped {
        let message = format!(
            "host {name} is reached through another: its API and node ports are reached by its own address only, where \
             there is a route to it"
        );
        found.push(Finding::warning("jump", message));
    }
    found
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The facts about a host, and the time at which they were collected.
struct Look<'a> {
    name: &'a str,
    facts: &'a Facts,
    /// The clock here at the time of the facts, in ms since 1970.
    clock: u64,
}

/// Returns every obstacle to a start on one host. Pure.
fn judge(look: &Look<'_>, request: &PreflightRequest) -> Vec<Finding> {
    let name = format!("host {}", look.name);
    let to_send = if look.facts.trees.is_empty() { FILES } else { 0 };
    let host = Judged { facts: &look.facts.host, name: &name, is_remote: true, to_send };
    let mut findings = preflight::kernel(&host, request);
    findings.extend(ports(look));
    findings.extend([rivals(look), clock(look)].into_iter().flatten());
    findings.extend(ranges(look, request));
    findings.extend(preflight::capacity(&host, request));
    findings
}

fn ports(look: &Look<'_>) -> impl Iterator<Item = Finding> {
    look.facts.ports.iter().map(|(port, owner)| {
        let message = format!("host {}: port {port}, which a node needs, is in use by {owner}", look.name);
        Finding::error("port", message).fix(format!("end it there; see it with: ss -ltnp sport = :{port}"))
    })
}

fn rivals(look: &Look<'_>) -> Option<Finding> {
    let rivals = look.facts.rivals.join(", ");
    let message = format!("host {} runs {rivals} already: two nodes on a host disturb each other", look.name);
    (!rivals.is_empty()).then(|| Finding::error("rival", message))
}

fn clock(look: &Look<'_>) -> Option<Finding> {
    let (there, here) = (look.facts.clock, look.clock);
    let apart = there.abs_diff(here);
    let direction = if there > here { "ahead of" } else { "behind" };
    let message = format!(
        "the clock of host {} is {} s {direction} this one's: certificates would not be valid there",
        look.name,
        apart / 1000
    );
    (apart > CLOCK).then(|| Finding::error("clock", message).fix("set it there, with: timedatectl set-ntp true"))
}

fn ranges(look: &Look<'_>, request: &PreflightRequest) -> impl Iterator<Item = Finding> {
    request.ranges.iter().filter_map(|range| {
        let own = range.net.v4()?;
        let (net, by) = look.facts.networks.iter().find(|(net, _)| own.contains(net))?;
        let message = format!(
            "host {} has {net} ({by}), which is within {}: a node takes all of that for its cluster",
            look.name, range.net
        );
        Some(Finding::error("range", message).fix(range.fix.clone()))
    })
}

#[cfg(test)]
mod tests {
    use kcl_driver_api::ClusterRange;
    use kcl_driver_oci::facts::HostFacts;

    use super::*;

    fn good() -> Facts {
        let controllers = ["cpu", "cpuset", "memory", "pids"].map(String::from).to_vec();
        Facts {
            system: "Debian GNU/Linux 12 (bookworm)".into(),
            systemd: true,
            host: HostFacts {
                capabilities: u64::MAX,
                kernel: "6.1.0-25-amd64".into(),
                controllers: Some(controllers),
                overlay: None,
                inotify_instances: None,
                inotify_watches: None,
                home: "/var/lib/kcl".into(),
                disk_free: 10 << 30,
                memory_total: 4 << 30,
                memory_available: 3 << 30,
                cpus: 2,
                open_files: 1 << 20,
            },
            clock: 1_000_000,
            interfaces: Vec::new(),
            default: None,
            ports: Vec::new(),
            rivals: Vec::new(),
            networks: Vec::new(),
            trees: Vec::new(),
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_and_names_the_host() {
        let range = |net: &str, fix: &str| ClusterRange { net: net.parse().unwrap(), fix: fix.into() };
        let ranges = vec![range("10.244.0.0/16", "change pods"), range("10.96.0.0/16", "change Services")];
        let machines = vec!["kcl".to_owned()];
        let request = PreflightRequest { machines, cpus: Some(4), memory: Some(8 << 30), ranges, ..Default::default() };
        let judge = |facts: &Facts, clock| judge(&Look { name: "a", facts, clock }, &request);
        let modest = PreflightRequest { cpus: None, memory: None, ..request.clone() };
        assert_eq!(super::judge(&Look { name: "a", facts: &good(), clock: 1_000_500 }, &modest), []);
        let bad = Facts {
            host: HostFacts {
                kernel: "4.19.0".into(),
                capabilities: 0,
                controllers: Some(vec!["cpu".into(), "cpuset".into(), "pids".into()]),
                disk_free: 1 << 20,
                overlay: Some("no overlay".into()),
                ..good().host
            },
            ports: vec![(6443, "haproxy".into())],
            rivals: vec!["kubelet".into()],
            // Another route to the same networks does no harm.
            networks: vec![
                ("10.0.0.0/8".parse().unwrap(), "route 10.0.0.0/8 by tun0".into()),
                ("10.96.3.0/24".parse().unwrap(), "interface eth1".into()),
            ],
            ..good()
        };
        let found = judge(&bad, 1_090_000);
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
            "cpus",
            "memory-limit",
            "disk-space",
        ];
        assert_eq!(ids, wanted);
        assert!(found.iter().all(|finding| finding.message.contains("host a")), "{found:#?}");
        assert!(found[6].message.contains("90 s behind"), "{}", found[6].message);
        assert!(found[7].message.contains("10.96.3.0/24 (interface eth1)"), "{}", found[7].message);
        assert_eq!(found[7].fix.as_deref(), Some("change Services"));
    }
}
