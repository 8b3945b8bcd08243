//! The container of a machine as an OCI runtime configuration (`config.json`, runtime-spec 1.3).
//!
//! A pure function of the machine and of what the host lends. A machine is a whole computer to what runs in it:
//! all namespaces but the user's, all devices, nothing masked, all capabilities that we have ourselves.

use kcl_driver_api::MachineSpec;
use serde_json::{Map, Value, json};

use crate::host::{Cgroups, Lends};
use crate::layout::MachineNames;
use crate::mounts::binds;

/// Where programs of a machine are looked for.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variable by which the first process learns, by the value `host`, that the network is not the machine's own.
pub const NETWORK: &str = "KCL_NETWORK";

/// The period of the CPU quota in µs: the kernel's default.
const CPU_PERIOD: u64 = 100_000;

/// Namespaces of every machine. Not the user's: root in a machine is root.
const NAMESPACES: [&str; 5] = ["pid", "mount", "uts", "ipc", "cgroup"];

/// How a machine is attached to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment<'a> {
    /// It has a network namespace of its own, and this link of the host moves in as `interface`.
    Link {
        /// Its name on the host.
        host: &'a str,
        /// Its name in the machine.
        interface: &'a str,
    },
    /// It shares the network namespace of the host.
    Host,
}

/// The configuration of a machine.
pub fn config(names: &MachineNames, spec: &MachineSpec, lends: &Lends, attachment: Attachment<'_>) -> Value {
    let capabilities = lends.capability_names();
    let mut env = vec![format!("PATH={PATH}"), "HOME=/root".to_owned(), "container=kcl".to_owned()];
    let mut namespaces = NAMESPACES.to_vec();
    // A link moves in with its address and comes up, so that nobody needs to enter the namespace.
    let devices = match attachment {
        Attachment::Link { host, interface } => {
            namespaces.push("network");
            json!({ host: { "name": interface } })
        }
        Attachment::Host => {
            env.push(format!("{NETWORK}=host"));
            json!({})
        }
    };
    json!({
        "ociVersion": "1.3.0",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0, "umask": 0o022 },
            "args": spec.init,
            "env": env,
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": lends.open_files, "soft": lends.open_files }],
            "noNewPrivileges": false,
        },
        "root": { "path": names.rootfs(), "readonly": false },
        "hostname": spec.name,
        "mounts": mounts(names, spec, lends),
        "annotations": spec.labels,
        "linux": {
            "namespaces": namespaces.iter().map(|kind| json!({ "type": kind })).collect::<Vec<_>>(),
            "netDevices": devices,
            "devices": lends.devices.iter().map(|device| json!({
                "path": device.path,
                "type": "c",
                "major": device.major,
                "minor": device.minor,
                "fileMode": device.mode,
                "uid": 0,
                "gid": 0,
            })).collect::<Vec<_>>(),
            "cgroupsPath": cgroups_path(names, lends.cgroups),
            "resources": resources(spec, lends),
            "rootfsPropagation": "rshared",
            "maskedPaths": [],
            "readonlyPaths": [],
        },
    })
}

fn cgroups_path(names: &MachineNames, cgroups: Cgroups) -> String {
    match cgroups {
        Cgroups::V1 | Cgroups::V2 => format!("/kcl/{}/{}", names.cluster.hash, names.name),
        // slice:prefix:name; runc asks for a delegated scope `kcl-<hash>-<name>.scope`.
        Cgroups::V2Systemd => format!("kcl.slice:kcl:{}-{}", names.cluster.hash, names.name),
    }
}

fn mounts(names: &MachineNames, spec: &MachineSpec, lends: &Lends) -> Vec<Value> {
    let mount = |target: &str, kind: &str, options: &[&str]| json!({ "destination": target, "type": kind, "source": kind, "options": options });
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "nodev", "noexec"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        mount("/dev/shm", "tmpfs", &["nosuid", "nodev", "noexec", "mode=1777"]),
        mount("/dev/mqueue", "mqueue", &["nosuid", "nodev", "noexec"]),
        mount("/sys", "sysfs", &["nosuid", "nodev", "noexec", "rw"]),
        mount("/sys/fs/cgroup", "cgroup", &["nosuid", "nodev", "noexec", "relatime", "rw"]),
        mount("/run", "tmpfs", &["nosuid", "nodev", "mode=755"]),
        mount("/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777"]),
    ];
    mounts.extend(binds(names, spec).into_iter().map(|bind| {
        // Mounts that the kubelet and containerd make in a volume must reach the containers of the machine.
        let options: &[&str] = if bind.read_only { &["rbind", "rprivate", "ro"] } else { &["rbind", "rshared"] };
        json!({ "destination": bind.target, "type": "bind", "source": bind.source, "options": options })
    }));
    mounts.extend(spec.mounts.iter().map(|host| {
        let options: &[&str] = match host.read_only {
            false => &["rbind", "rshared"],
            // With all that is mounted below it, where the kernel can.
            true if lends.read_only_trees => &["rbind", "rshared", "rro"],
            true => &["rbind", "rshared", "ro"],
        };
        json!({ "destination": host.target, "type": "bind", "source": host.source, "options": options })
    }));
    mounts
}

fn resources(spec: &MachineSpec, lends: &Lends) -> Value {
    let mut resources = Map::new();
    resources.insert("devices".into(), json!([{ "allow": true, "access": "rwm" }]));
    // Shares are the terms of cgroup v1, 1024 is usual; runc makes a weight of them on v2.
    let mut cpu = json!({ "shares": u64::from(spec.cpu_weight) * 1024 / 100 });
    if let Some(cpus) = spec.cpus {
        cpu["quota"] = json!(u64::from(cpus) * CPU_PERIOD);
        cpu["period"] = json!(CPU_PERIOD);
    }
    resources.insert("cpu".into(), cpu);
    if let Some(bytes) = spec.memory {
        // The limit of memory and swap together: no swap.
        let memory =
            if lends.swap_limit { json!({ "limit": bytes, "swap": bytes }) } else { json!({ "limit": bytes }) };
        resources.insert("memory".into(), memory);
    }
    Value::Object(resources)
}

#[cfg(test)]
mod tests;
