//! Checks of a host or an engine that several drivers make before a start. Pure: each judges one fact.

use std::fmt::Display;

use ipnet::Ipv4Net;
use kcl_driver_api::{Finding, PreflightRequest};
use serde::{Deserialize, Serialize};

/// A limit and how much of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The limit itself.
    pub limit: u64,
    /// The used part of it.
    pub used: u64,
}

/// Shows a number of bytes in MiB, rounded up.
pub fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// Reads a field of `/proc/meminfo` (proc_meminfo(5)) in bytes.
pub fn meminfo(text: &str, field: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib: Option<u64> = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) * 1024
}

/// Shows a number of machines with the verb that follows: `1 machine needs`, `3 machines need`.
fn need(machines: usize) -> String {
    if machines == 1 { "1 machine needs".to_owned() } else { format!("{machines} machines need") }
}

/// Reports that machines are to have more CPUs than their host, `owner`, has.
pub fn cpus(owner: &str, available: u64, request: &PreflightRequest) -> Option<Finding> {
    let wanted = request.cpus.filter(|wanted| u64::from(*wanted) > available)?;
    let message = format!("{wanted} CPUs are requested for each machine; {owner} has {available}");
    Some(Finding::error("cpus", message).fix(format!("kcl start --cpus {available}")))
}

/// Reports that a machine is to have more memory than its host, `owner`, has.
pub fn memory_limit(owner: &str, total: u64, request: &PreflightRequest) -> Option<Finding> {
    let wanted = request.memory.filter(|wanted| *wanted > total)?;
    let message = format!("{} are requested for each machine; {owner} has {}", mib(wanted), mib(total));
    Some(Finding::error("memory-limit", message).fix(format!("kcl start --memory {}MiB", total >> 21)))
}

/// Warns that machines may together use more memory than their host, `owner`, has.
pub fn memory_sum(owner: &str, total: u64, request: &PreflightRequest) -> Option<Finding> {
    let (count, each) = (request.machines.len(), request.memory.filter(|each| *each <= total)?);
    let all = each.saturating_mul(count as u64);
    let message = format!("{count} machines of {} may use {}; {owner} has {}", mib(each), mib(all), mib(total));
    (all > total).then(|| Finding::warning("memory-limit", message))
}

/// Warns that a host, `owner`, has less memory left than machines that need `each` bytes.
pub fn memory(owner: &str, available: u64, each: u64, request: &PreflightRequest) -> Option<Finding> {
    let needed = each.saturating_mul(request.machines.len() as u64);
    let message = format!(
        "{owner} has {} of memory available; {} about {}",
        mib(available),
        need(request.machines.len()),
        mib(needed)
    );
    (available < needed).then(|| Finding::warning("memory", message).fix("kcl start --nodes 1, or end other programs"))
}

/// The room on a disk where machines are kept.
#[derive(Clone, Debug)]
pub struct Disk<P> {
    /// The directory, as the user knows it.
    pub place: P,
    /// Free bytes there.
    pub free: u64,
    /// Bytes that machines need before they run anything for their user.
    pub needed: u64,
    /// Bytes without which machines cannot be made at all.
    pub at_least: u64,
}

impl<P: Display> Disk<P> {
    /// Reports that a disk has too little room: an error if machines cannot be made at all, else a warning.
    pub fn check(&self, fix: &str, request: &PreflightRequest) -> Option<Finding> {
        let message = format!(
            "{} has {} free; {} about {}",
            self.place,
            mib(self.free),
            need(request.machines.len()),
            mib(self.needed)
        );
        let finding = if self.free < self.at_least { Finding::error } else { Finding::warning };
        (self.free < self.needed).then(|| finding("disk-space", message).fix(fix))
    }
}

/// Reports that fewer inotify objects are left than machines need (inotify(7)): `usage` is of the sysctl
/// `fs.inotify.<name>` on the host `owner`.
pub fn inotify(owner: &str, name: &str, usage: Usage, needed: u64, request: &PreflightRequest) -> Option<Finding> {
    let (id, enough) = match name {
        "max_user_instances" => ("inotify-instances", 1024),
        _ => ("inotify-watches", 1_048_576),
    };
    let Usage { limit, used } = usage;
    let in_use = if used == 0 { String::new() } else { format!(", of which {used} are used") };
    let message = format!(
        "fs.inotify.{name} of {owner} is {limit}{in_use}; {} about {needed} more, or fail with \"too many open files\"",
        need(request.machines.len())
    );
    let value = (used + needed).next_power_of_two().max(enough);
    (used + needed > limit).then(|| Finding::error(id, message).fix(format!("sysctl -w fs.inotify.{name}={value}")))
}

/// Reports that others use addresses of the requested subnet: `others` are their names and networks, `free` is a
/// network that nobody uses.
pub fn subnet_collision<'a>(
    subnet: Ipv4Net,
    others: impl Iterator<Item = (&'a str, Ipv4Net)>,
    free: Option<Ipv4Net>,
) -> Option<Finding> {
    let found: Vec<String> = others.map(|(by, net)| format!("{by} ({net})")).collect();
    let free = free.map_or("<a free network>".to_owned(), |free| free.to_string());
    let message = format!("the subnet {subnet} collides with {}", found.join(", "));
    (!found.is_empty()).then(|| Finding::error("subnet-collision", message).fix(format!("kcl start --subnet {free}")))
}

#[cfg(test)]
mod tests {
    use kcl_driver_api::Severity;

    use super::*;

    fn request() -> PreflightRequest {
        PreflightRequest { machines: ["a", "b", "c"].map(str::to_owned).to_vec(), ..Default::default() }
    }

    #[test]
    fn inotify_instances_that_are_left() {
        let check = |used| inotify("the host", "max_user_instances", Usage { limit: 128, used }, 120, &request());
        let finding = check(20).unwrap();
        assert_eq!((finding.id, finding.severity), ("inotify-instances", Severity::Error));
        assert!(
            finding.message.contains("of the host is 128, of which 20 are used; 3 machines need about 120 more"),
            "{}",
            finding.message
        );
        assert_eq!(finding.fix.as_deref(), Some("sysctl -w fs.inotify.max_user_instances=1024"));
        assert_eq!(check(8), None);
    }

    #[test]
    fn memory_in_bytes() {
        let text = "MemTotal:       24684096 kB\nMemFree:         100 kB\nMemAvailable:       200 kB\n";
        assert_eq!((meminfo(text, "MemTotal"), meminfo(text, "MemAvailable")), (24_684_096 * 1024, 200 * 1024));
    }

    #[test]
    fn sizes() {
        let asks = |cpus, memory| PreflightRequest { cpus, memory, ..request() };
        let message = cpus("the host", 4, &asks(Some(8), None)).unwrap().message;
        assert_eq!(message, "8 CPUs are requested for each machine; the host has 4");
        let finding = memory_limit("the host", 24 << 30, &asks(None, Some(32 << 30))).unwrap();
        assert_eq!((finding.severity, finding.fix.as_deref()), (Severity::Error, Some("kcl start --memory 12288MiB")));
        assert_eq!(memory_sum("the host", 24 << 30, &asks(None, Some(32 << 30))), None);
        assert_eq!(memory_sum("the host", 24 << 30, &asks(None, Some(12 << 30))).unwrap().severity, Severity::Warning);
        assert_eq!(memory("the host", 100 << 20, 300 << 20, &request()).unwrap().id, "memory");
        let disk = |free| Disk { place: "/x", free, needed: 3 << 30, at_least: 1 << 30 }.check("free some", &request());
        assert_eq!(disk(2 << 30).unwrap().severity, Severity::Warning);
        assert_eq!(disk(1).unwrap().severity, Severity::Error);
        assert_eq!(disk(3 << 30), None);
    }
}
