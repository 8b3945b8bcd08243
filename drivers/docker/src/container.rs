//! Describes the container of a machine to the engine, as pure functions.
//!
//! To its processes, a machine is a whole computer: all namespaces of its own except the user's, all devices, nothing
//! masked, all capabilities that the engine can give.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, EndpointIpamConfig, EndpointSettings, HostConfig,
    HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount, MountType, MountVolumeOptions, NetworkingConfig,
    PortBinding, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use kcl_driver_api::{HostMount, MachineSpec, Protocol, PublishedPort};

use crate::console;
use crate::engine::Facts;
use crate::image::Image;
use crate::names::{MachineNames, SPEC};

/// The interface of a container on its only network.
pub(crate) const INTERFACE: &str = "eth0";

/// The file systems in memory, which each power-on empties.
const IN_MEMORY: [(&str, &str); 2] =
    [("/run", "rw,exec,nosuid,nodev,mode=755"), ("/tmp", "rw,exec,nosuid,nodev,mode=1777")];

/// The number of files that a process may have open if the engine may raise that limit.
const OPEN_FILES: i64 = 1 << 20;

/// The size of a console's log at which it is rotated.
const CONSOLE: [(&str, &str); 2] = [("max-size", "10m"), ("max-file", "2")];

/// Returns the container of a machine.
pub(crate) fn config(names: &MachineNames, spec: &MachineSpec, image: &Image, facts: &Facts) -> ContainerCreateBody {
    let mut labels = names.labels();
    labels.extend(spec.labels.clone());
    labels.insert(SPEC.to_owned(), serde_json::to_string(spec).expect("a specification is JSON"));
    let network = names.cluster.network();
    let endpoint = EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: spec.address.v4().map(|address| address.to_string()),
            ipv6_address: spec.address.v6().map(|address| address.to_string()),
            ..EndpointIpamConfig::default()
        }),
        ..EndpointSettings::default()
    };
    ContainerCreateBody {
        hostname: Some(spec.name.clone()),
        image: Some(image.reference.clone()),
        entrypoint: Some(console::marked(&spec.init)),
        // The image has the command of the probe.
        cmd: Some(Vec::new()),
        labels: Some(labels),
        stop_signal: Some("SIGTERM".to_owned()),
        exposed_ports: Some(spec.ports.iter().map(machine_port).collect()),
        host_config: Some(host_config(names, spec, image, facts, &network)),
        networking_config: Some(NetworkingConfig { endpoints_config: Some(HashMap::from([(network, endpoint)])) }),
        ..ContainerCreateBody::default()
    }
}

fn host_config(names: &MachineNames, spec: &MachineSpec, image: &Image, facts: &Facts, network: &str) -> HostConfig {
    let privileged = image.bounds.all();
    let texts =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let limits = limits(spec, facts.limits.2);
    HostConfig {
        privileged: Some(privileged),
        // If the engine cannot give all capabilities, the container gets those that there are, and all devices.
        cap_add: (!privileged).then(|| vec!["ALL".to_owned()]),
        cap_drop: (!privileged).then(|| image.bounds.withheld()),
        device_cgroup_rules: (!privileged).then(|| vec!["a *:* rwm".to_owned()]),
        // Only an engine with all capabilities may raise a limit.
        ulimits: privileged.then(|| {
            vec![ResourcesUlimits { name: Some("nofile".to_owned()), soft: Some(OPEN_FILES), hard: Some(OPEN_FILES) }]
        }),
        security_opt: Some(security_options(facts)),
        masked_paths: Some(Vec::new()),
        readonly_paths: Some(Vec::new()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        ipc_mode: Some("private".to_owned()),
        userns_mode: Some("host".to_owned()),
        tmpfs: Some(texts(&IN_MEMORY)),
        mounts: Some(
            spec.volumes.iter().map(|volume| self::volume(names, volume)).chain(spec.mounts.iter().map(bind)).collect(),
        ),
        network_mode: Some(network.to_owned()),
        port_bindings: Some(spec.ports.iter().map(|port| (machine_port(port), Some(vec![binding(port)]))).collect()),
        restart_policy: Some(restart(false)),
        log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(texts(&CONSOLE)) }),
        nano_cpus: limits.nano_cpus,
        memory: limits.memory,
        memory_swap: limits.memory_swap,
        cpu_shares: limits.cpu_shares,
        ..HostConfig::default()
    }
}

/// Returns the security options, by which no security module confines a machine. Podman ignores the paths that Docker's
/// API names as masked and read-only, and has an option for all of them (podman-run(1)), which Docker does not know.
fn security_options(facts: &Facts) -> Vec<String> {
    let podman = (facts.name == "Podman").then_some("unmask=ALL");
    ["seccomp=unconfined", "apparmor=unconfined", "label=disable"]
        .into_iter()
        .chain(podman)
        .map(str::to_owned)
        .collect()
}

/// Returns the limits of a machine, for its creation and for a change.
pub(crate) fn limits(spec: &MachineSpec, swap_limit: bool) -> ContainerUpdateBody {
    let memory = spec.memory.map(|bytes| bytes as i64);
    ContainerUpdateBody {
        nano_cpus: spec.cpus.map(|cpus| i64::from(cpus) * 1_000_000_000),
        memory,
        // This limits memory and swap together, so there is no swap.
        memory_swap: memory.filter(|_| swap_limit),
        // Shares are a term of cgroup v1, with 1024 as the default; engines convert them to a weight on v2.
        cpu_shares: Some(i64::from(spec.cpu_weight) * 1024 / 100),
        ..ContainerUpdateBody::default()
    }
}

/// Returns the restart policy: whether the engine starts the machine again, after a restart of its own or an end of the
/// machine.
pub(crate) fn restart(again: bool) -> RestartPolicy {
    let name = if again { RestartPolicyNameEnum::UNLESS_STOPPED } else { RestartPolicyNameEnum::NO };
    RestartPolicy { name: Some(name), maximum_retry_count: None }
}

fn volume(names: &MachineNames, target: &std::path::Path) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(names.volume(target)),
        target: Some(target.to_string_lossy().into_owned()),
        volume_options: Some(MountVolumeOptions { labels: Some(names.labels()), ..MountVolumeOptions::default() }),
        ..Mount::default()
    }
}

fn bind(mount: &HostMount) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.to_string_lossy().into_owned()),
        target: Some(mount.target.to_string_lossy().into_owned()),
        read_only: Some(mount.read_only),
        ..Mount::default()
    }
}

fn machine_port(port: &PublishedPort) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{}/{protocol}", port.machine_port)
}

fn binding(port: &PublishedPort) -> PortBinding {
    PortBinding { host_ip: Some(port.address.to_string()), host_port: Some(port.port.to_string()) }
}
