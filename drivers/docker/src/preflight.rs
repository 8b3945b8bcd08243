//! Judging the engine: everything that stands in the way, all at once, each with the command that mends it.

use std::fs;
use std::path::Path;

use kcl_driver_api::{Finding, Health, PreflightRequest, Result, Severity};

use crate::context::Context;
use crate::engine::{Engine, Facts, OLDEST_API};
use crate::network;
use crate::subnet::{self, Taken};

/// Bytes of disk that a machine needs before it runs anything for its user, the seed of its images among them.
const DISK: u64 = 768 << 20;

/// Bytes of disk that the node image needs while the engine takes it in.
const IMAGE: u64 = 1 << 30;

/// The first version of Podman whose service of Docker's API updates containers.
const PODMAN: (u32, u32) = (5, 1);

/// What is known of this host, where the engine runs on it.
#[derive(Clone, Copy, Debug, Default)]
struct Host {
    /// `fs.inotify.max_user_instances`.
    inotify_instances: Option<u64>,
    /// Bytes that are free where the engine keeps everything.
    disk_free: Option<u64>,
}

/// Whether machines could be made at all.
pub(crate) async fn health(context: &Context) -> Health {
    match context.engine().await {
        Ok(engine) => {
            let findings = engine_findings(&engine.facts, std::env::consts::ARCH);
            Health { engine: Some(format!("{} {}", engine.facts.name, engine.facts.version)), findings }
        }
        Err(error) => Health { engine: None, findings: vec![unreachable(error)] },
    }
}

/// Everything that stands in the way of a request.
pub(crate) async fn preflight(context: &Context, request: &PreflightRequest) -> Result<Vec<Finding>> {
    let engine = match context.engine().await {
        Ok(engine) => engine,
        Err(error) => return Ok(vec![unreachable(error)]),
    };
    let mut findings = engine_findings(&engine.facts, std::env::consts::ARCH);
    if findings.iter().all(|finding| finding.severity != Severity::Error) {
        let names = context.names().await?.cluster(&request.cluster)?;
        let taken = network::taken(engine, &names, None).await?;
        findings.extend(request_findings(&engine.facts, &host(engine), &taken, request));
    }
    Ok(findings)
}

fn unreachable(error: kcl_driver_api::Error) -> Finding {
    Finding { severity: Severity::Error, id: "engine", message: error.message, fix: error.hint }
}

fn host(engine: &Engine) -> Host {
    if !engine.facts.local {
        return Host::default();
    }
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").ok();
    let place = Path::new(&engine.facts.root).ancestors().find_map(|path| nix::sys::statvfs::statvfs(path).ok());
    Host {
        inotify_instances: limit.and_then(|text| text.trim().parse().ok()),
        disk_free: place.map(|found| found.blocks_available() * found.fragment_size()),
    }
}

fn error(id: &'static str, message: String, fix: Option<String>) -> Finding {
    Finding { severity: Severity::Error, id, message, fix }
}

fn warning(id: &'static str, message: String, fix: Option<String>) -> Finding {
    Finding { severity: Severity::Warning, id, message, fix }
}

/// What of the engine itself stands in the way.
fn engine_findings(facts: &Facts, arch: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let engine = format!("{} {}", facts.name, facts.version);
    if facts.os != "linux" {
        let message = format!("{engine} runs containers of {}; nodes are Linux", facts.os);
        findings.push(error("engine-os", message, Some("switch Docker Desktop to Linux containers".into())));
    }
    if facts.api < OLDEST_API {
        let message = format!(
            "{engine} speaks version {}.{} of the API; {}.{} is needed, which is Docker 20.10",
            facts.api.0, facts.api.1, OLDEST_API.0, OLDEST_API.1
        );
        findings.push(error("engine-version", message, Some("update Docker to 20.10 or later".into())));
    }
    if facts.rootless {
        let lacks = if facts.cgroup_v2 {
            "a node's kubelet and containerd need devices, mounts and kernel parameters that user namespaces withhold"
        } else {
            "it cannot even limit what nodes use, as control groups can only be delegated in version 2"
        };
        let message = format!("{engine} runs rootless: {lacks}");
        let fix = "use the system's engine: sudo systemctl start docker, then docker context use default, or \
                   DOCKER_HOST=unix:///var/run/docker.sock";
        findings.push(error("rootless", message, Some(fix.into())));
    }
    if facts.arch != arch {
        let message = format!("{engine} runs on {}; this kcl has nodes for {arch}", facts.arch);
        findings.push(error("architecture", message, Some(format!("use kcl on {}, or another engine", facts.arch))));
    }
    if facts.name == "Podman" && older(&facts.version, PODMAN) {
        let message = format!(
            "{engine} cannot change the restart policy of a container, by which a node that was stopped stays so; Podman \
             {}.{} can",
            PODMAN.0, PODMAN.1
        );
        findings.push(error("podman-version", message, Some("update Podman, or use Docker".into())));
    } else if facts.name == "Podman" {
        let message = format!("{engine} speaks Docker's API; with it kcl is tested less than with Docker");
        findings.push(warning("podman", message, None));
    }
    findings
}

fn older(version: &str, than: (u32, u32)) -> bool {
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    numbers.next().is_some_and(|major| (major, numbers.next().unwrap_or(0)) < than)
}

/// What stands in the way of a request, where the engine itself does not.
fn request_findings(facts: &Facts, host: &Host, taken: &[Taken], request: &PreflightRequest) -> Vec<Finding> {
    let mut findings = Vec::new();
    let machines = request.machines.len() as u64;
    if let Some(subnet) = request.subnet {
        let found: Vec<String> =
            subnet::collisions(subnet, taken).map(|other| format!("{} ({})", other.by, other.net)).collect();
        if !found.is_empty() {
            let free = subnet::propose(taken).map_or("<a free network>".to_owned(), |free| free.to_string());
            let message = format!("the subnet {subnet} collides with {}", found.join(", "));
            findings.push(error("subnet-collision", message, Some(format!("kcl start --subnet {free}"))));
        }
    }
    if let Some(limit) = host.inotify_instances.filter(|limit| *limit < request.inotify_instances) {
        let needed = request.inotify_instances;
        let message = format!(
            "fs.inotify.max_user_instances is {limit}; {machines} machines need about {needed}, or fail with \"too many open files\""
        );
        let value = needed.next_power_of_two().max(1024);
        findings.push(error(
            "inotify-instances",
            message,
            Some(format!("sudo sysctl -w fs.inotify.max_user_instances={value}")),
        ));
    }
    if let Some(wanted) = request.cpus.filter(|wanted| u64::from(*wanted) > facts.cpus) {
        let message = format!("{wanted} CPUs were asked for each machine; the engine has {}", facts.cpus);
        findings.push(error("cpus", message, Some(format!("kcl start --cpus {}", facts.cpus))));
    }
    if let Some(wanted) = request.memory.filter(|wanted| *wanted > facts.memory) {
        let message = format!("{} were asked for each machine; the engine has {}", mib(wanted), mib(facts.memory));
        let fix = format!("kcl start --memory {}", mib(facts.memory / 2).replace(' ', ""));
        findings.push(error("memory-limit", message, Some(fix)));
    }
    for (asked, can, what) in
        [(request.memory.is_some(), facts.limits.0, "memory"), (request.cpus.is_some(), facts.limits.1, "CPUs")]
    {
        if asked && !can {
            let message =
                format!("the engine cannot limit the {what} of containers: a control group controller is missing");
            findings.push(error("limits", message, Some(format!("leave the limit of {what} away"))));
        }
    }
    if let Some(free) = host.disk_free {
        let needed = DISK * machines + IMAGE;
        if free < needed {
            let message = format!(
                "{} are free in {}; {machines} machines and their image need about {}",
                mib(free),
                facts.root,
                mib(needed)
            );
            let fix = Some("free some, such as with: docker system prune".to_owned());
            let finding = if free < needed / 2 { error } else { warning };
            findings.push(finding("disk-space", message, fix));
        }
    }
    findings
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            name: "Docker".into(),
            version: "20.10.24".into(),
            api: (1, 41),
            os: "linux".into(),
            arch: "x86_64".into(),
            cpus: 4,
            memory: 8 << 30,
            limits: (true, true, true),
            ..Facts::default()
        }
    }

    fn ids(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn engines_that_will_do_and_those_that_will_not() {
        assert_eq!(engine_findings(&facts(), "x86_64"), []);
        let of = |facts: Facts| engine_findings(&facts, "x86_64").iter().map(|one| one.id).collect::<Vec<_>>();
        assert_eq!(of(Facts { api: (1, 40), ..facts() }), ["engine-version"]);
        assert_eq!(of(Facts { rootless: true, ..facts() }), ["rootless"]);
        assert_eq!(of(Facts { arch: "aarch64".into(), ..facts() }), ["architecture"]);
        assert_eq!(of(Facts { os: "windows".into(), ..facts() }), ["engine-os"]);
        let podman = engine_findings(&Facts { name: "Podman".into(), ..facts() }, "x86_64");
        assert_eq!((podman[0].id, podman[0].severity), ("podman", Severity::Warning));
        // Debian 12's: it answers 404 to an update.
        let old = Facts { name: "Podman".into(), version: "4.3.1".into(), ..facts() };
        assert_eq!(of(old), ["podman-version"]);
        assert!(engine_findings(&facts(), "x86_64").iter().all(|finding| finding.fix.is_some()));
    }

    #[test]
    fn everything_that_stands_in_the_way_at_once() {
        let request = PreflightRequest {
            cluster: "kcl".into(),
            machines: vec!["kcl".into()],
            inotify_instances: 200,
            subnet: Some("10.89.0.0/24".parse().unwrap()),
            cpus: Some(8),
            memory: Some(16 << 30),
            ..Default::default()
        };
        let taken = [Taken { net: "10.89.0.0/16".parse().unwrap(), by: "the engine's network x".into() }];
        let host = Host { inotify_instances: Some(128), disk_free: Some(100 << 20) };
        let found = request_findings(&facts(), &host, &taken, &request);
        assert_eq!(ids(&found), ["subnet-collision", "inotify-instances", "cpus", "memory-limit", "disk-space"]);
        assert!(found.iter().all(|finding| finding.severity == Severity::Error && finding.fix.is_some()));
        let modest = PreflightRequest { inotify_instances: 64, subnet: None, cpus: None, memory: None, ..request };
        assert_eq!(ids(&request_findings(&facts(), &Host::default(), &taken, &modest)), [""; 0]);
    }
}
