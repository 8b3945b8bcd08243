//! Checks the engine: reports everything that prevents a cluster, all at once, each with the command that fixes it.

use std::fs;
use std::path::Path;

use kcl_driver_api::{Finding, Health, PreflightRequest, Result, Severity};
use kcl_driver_local::checks::{self, Disk, Usage};

use crate::context::Context;
use crate::engine::{Engine, Facts, OLDEST_API};
use crate::network;
use crate::subnet::{self, Taken};

/// The bytes of disk that a machine needs before it runs anything for its user, including the seed of its images.
const DISK: u64 = 768 << 20;

/// The bytes of disk that the node image needs while the engine loads it.
const IMAGE: u64 = 1 << 30;

/// The first version of Podman whose service of Docker's API updates containers.
const PODMAN: (u32, u32) = (5, 1);

/// The facts of this host, if the engine runs on it.
#[derive(Clone, Copy, Debug, Default)]
struct Host {
    /// The limit `fs.inotify.max_user_instances`.
    inotify_instances: Option<u64>,
    /// The free bytes on the file system of the engine's data.
    disk_free: Option<u64>,
}

/// Reports whether machines could be made at all.
pub(crate) async fn health(context: &Context) -> Health {
    match context.engine().await {
        Ok(engine) => {
            let findings = engine_findings(&engine.facts, std::env::consts::ARCH);
            Health { engine: Some(format!("{} {}", engine.facts.name, engine.facts.version)), findings }
        }
        Err(error) => Health { engine: None, findings: vec![Finding::from_error("engine", error)] },
    }
}

/// Returns everything that prevents a request.
pub(crate) async fn preflight(context: &Context, request: &PreflightRequest) -> Result<Vec<Finding>> {
    let engine = match context.engine().await {
        Ok(engine) => engine,
        Err(error) => return Ok(vec![Finding::from_error("engine", error)]),
    };
    let mut findings = engine_findings(&engine.facts, std::env::consts::ARCH);
    if findings.iter().all(|finding| finding.severity != Severity::Error) {
        let names = context.names().await?.cluster(&request.cluster)?;
        let taken = network::taken(engine, &names, None).await?;
        let look = Look { engine: &engine.facts, host: &host(engine), taken: &taken };
        findings.extend(request_findings(&look, request));
    }
    Ok(findings)
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

/// Returns the problems of the engine itself; `arch` is the architecture of the nodes.
fn engine_findings(facts: &Facts, arch: &str) -> Vec<Finding> {
    let checks: [fn(&Facts, &str) -> Option<Finding>; 5] = [system, api_version, rootless, architecture, podman];
    checks.iter().filter_map(|check| check(facts, arch)).collect()
}

fn engine_name(facts: &Facts) -> String {
    format!("{} {}", facts.name, facts.version)
}

fn system(facts: &Facts, _: &str) -> Option<Finding> {
    let message = format!("{} runs containers of {}; nodes are Linux", engine_name(facts), facts.os);
    (facts.os != "linux").then(|| Finding::error("engine-os", message).fix("switch Docker Desktop to Linux containers"))
}

fn api_version(facts: &Facts, _: &str) -> Option<Finding> {
    let ((major, minor), (least_major, least_minor)) = (facts.api, OLDEST_API);
    let message = format!(
        "{} speaks version {major}.{minor} of the API; {least_major}.{least_minor} is needed, which is Docker 20.10",
        engine_name(facts)
    );
    (facts.api < OLDEST_API).then(|| Finding::error("engine-version", message).fix("update Docker to 20.10 or later"))
}

fn rootless(facts: &Facts, _: &str) -> Option<Finding> {
    let lacks = if facts.cgroup_v2 {
        "a node's kubelet and containerd need devices, mounts and kernel parameters that user namespaces withhold"
    } else {
        "it cannot even limit what nodes use, as control groups can only be delegated in version 2"
    };
    let message = format!("{} runs rootless: {lacks}", engine_name(facts));
    let fix = "use the system's engine: sudo systemctl start docker, then docker context use default, or \
               DOCKER_HOST=unix:///var/run/docker.sock";
    facts.rootless.then(|| Finding::error("rootless", message).fix(fix))
}

fn architecture(facts: &Facts, arch: &str) -> Option<Finding> {
    let message = format!("{} runs on {}; this kcl has nodes for {arch}", engine_name(facts), facts.arch);
    let fix = format!("use kcl on {}, or another engine", facts.arch);
    (facts.arch != arch).then(|| Finding::error("architecture", message).fix(fix))
}

fn podman(facts: &Facts, _: &str) -> Option<Finding> {
    if facts.name != "Podman" {
        return None;
    }
    let (engine, (major, minor)) = (engine_name(facts), PODMAN);
    if !older(&facts.version, PODMAN) {
        let message = format!("{engine} speaks Docker's API; with it kcl is tested less than with Docker");
        return Some(Finding::warning("podman", message));
    }
    let message = format!(
        "{engine} cannot change the restart policy of a container, by which a node that was stopped stays so; Podman \
         {major}.{minor} can"
    );
    Some(Finding::error("podman-version", message).fix("update Podman, or use Docker"))
}

fn older(version: &str, than: (u32, u32)) -> bool {
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    numbers.next().is_some_and(|major| (major, numbers.next().unwrap_or(0)) < than)
}

/// The facts that a request is judged by.
struct Look<'a> {
    engine: &'a Facts,
    host: &'a Host,
    taken: &'a [Taken],
}

/// Returns the problems of a request on an engine that has none itself.
fn request_findings(look: &Look<'_>, request: &PreflightRequest) -> Vec<Finding> {
    let checks: [fn(&Look<'_>, &PreflightRequest) -> Option<Finding>; 7] =
        [subnet_collision, inotify_instances, cpus, memory_limit, limits_memory, limits_cpus, disk_space];
    checks.iter().filter_map(|check| check(look, request)).collect()
}

fn subnet_collision(look: &Look<'_>, request: &PreflightRequest) -> Option<Finding> {
    let subnet = request.subnet?.v4()?;
    let others = subnet::collisions(subnet, look.taken).map(|other| (other.by.as_str(), other.net));
    checks::subnet_collision(subnet, others, subnet::propose(look.taken))
}

/// Checks only the limit: the engine's containers may belong to other users, whose use is not known here.
fn inotify_instances(look: &Look<'_>, request: &PreflightRequest) -> Option<Finding> {
    let usage = Usage { limit: look.host.inotify_instances?, used: 0 };
    let found =
        checks::inotify("the engine's host", "max_user_instances", usage, request.inotify_instances(), request)?;
    Some(Finding { fix: found.fix.map(|fix| format!("sudo {fix}")), ..found })
}

fn cpus(look: &Look<'_>, request: &PreflightRequest) -> Option<Finding> {
    checks::cpus("the engine", look.engine.cpus, request)
}

fn memory_limit(look: &Look<'_>, request: &PreflightRequest) -> Option<Finding> {
    checks::memory_limit("the engine", look.engine.memory, request)
}

fn limits_memory(look: &Look<'_>, request: &PreflightRequest) -> Option<Finding> {
    limits(request.memory.is_some() && !look.engine.limits.0, "memory")
}

fn limits_cpus(look: &Look<'_>, request: &PreflightRequest) -> Option<Finding> {
    limits(request.cpus.is_some() && !look.engine.limits.1, "CPUs")
}

fn limits(missing: bool, what: &str) -> Option<Finding> {
    let message = format!("the engine cannot limit the {what} of containers: a control group controller is missing");
    missing.then(|| Finding::error("limits", message).fix(format!("omit the limit of {what}")))
}

fn disk_space(look: &Look<'_>, request: &PreflightRequest) -> Option<Finding> {
    let needed = DISK * request.machines.len() as u64 + IMAGE;
    Disk { place: &look.engine.root, free: look.host.disk_free?, needed, at_least: needed / 2 }
        .check("free some, such as with: docker system prune", request)
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
        // The version of Debian 12 answers 404 to an update.
        let old = Facts { name: "Podman".into(), version: "4.3.1".into(), ..facts() };
        assert_eq!(of(old), ["podman-version"]);
        assert!(engine_findings(&facts(), "x86_64").iter().all(|finding| finding.fix.is_some()));
    }

    #[test]
    fn everything_that_stands_in_the_way_at_once() {
        let request = PreflightRequest {
            cluster: "kcl".into(),
            machines: vec!["kcl".into()],
            inotify_instances: [("kcl".to_owned(), 200)].into(),
            subnet: Some("10.89.0.0/24".parse().unwrap()),
            cpus: Some(8),
            memory: Some(16 << 30),
            ..Default::default()
        };
        let taken = [Taken { net: "10.89.0.0/16".parse().unwrap(), by: "the engine's network x".into() }];
        let host = Host { inotify_instances: Some(128), disk_free: Some(100 << 20) };
        let judge = |host: &Host, request: &PreflightRequest| {
            request_findings(&Look { engine: &facts(), host, taken: &taken }, request)
        };
        let found = judge(&host, &request);
        assert_eq!(ids(&found), ["subnet-collision", "inotify-instances", "cpus", "memory-limit", "disk-space"]);
        assert!(found.iter().all(|finding| finding.severity == Severity::Error && finding.fix.is_some()));
        let modest = PreflightRequest { subnet: None, cpus: None, memory: None, ..request };
        assert_eq!(ids(&judge(&Host::default(), &modest)), [""; 0]);
    }
}
