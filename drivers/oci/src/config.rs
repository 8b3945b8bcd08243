//! Describes the container of a machine as an OCI runtime configuration (`config.json`, runtime-spec 1.3).
//!
//! The description is a pure function of the machine and of what the host offers. To its processes, a machine is a
//! whole computer: all namespaces except the user's, all devices, nothing masked, all capabilities that kcl itself has.

use std::collections::HashMap;
use std::path::Path;

use kcl_driver_api::MachineSpec;
use oci_spec::runtime::{
    Capabilities, Linux, LinuxBuilder, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxCpuBuilder,
    LinuxDeviceBuilder, LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxMemoryBuilder, LinuxNamespaceBuilder,
    LinuxNamespaceType, LinuxNetDeviceBuilder, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder, Mount,
    MountBuilder, PosixRlimitBuilder, PosixRlimitType, ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};

use crate::host::{Cgroups, Lends};
use crate::layout::MachineNames;
use crate::mounts::binds;

/// The directories in which programs of a machine are searched.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment variable that tells the first process, by the value `host`, that the machine shares the host's
/// network.
pub const NETWORK: &str = "KCL_NETWORK";

/// The period of the CPU quota in µs: the kernel's default.
const CPU_PERIOD: i64 = 100_000;

/// The namespaces of every machine. The user namespace is not one of them: root in a machine is root.
const NAMESPACES: [LinuxNamespaceType; 5] = [
    LinuxNamespaceType::Pid,
    LinuxNamespaceType::Mount,
    LinuxNamespaceType::Uts,
    LinuxNamespaceType::Ipc,
    LinuxNamespaceType::Cgroup,
];

/// The attachment of a machine to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment<'a> {
    /// A network namespace of the machine's own, into which this link of the host moves as `interface`.
    Link {
        /// The link's name on the host.
        host: &'a str,
        /// The link's name in the machine.
        interface: &'a str,
    },
    /// The network namespace of the host.
    Host,
}

/// Returns the configuration of a machine.
///
/// # Errors
/// Returns an error if a field that the specification requires is missing.
pub fn config(
    names: &MachineNames,
    spec: &MachineSpec,
    lends: &Lends,
    attachment: Attachment<'_>,
) -> oci_spec::Result<Spec> {
    let mut env = vec![format!("PATH={PATH}"), "HOME=/root".to_owned(), "container=kcl".to_owned()];
    if attachment == Attachment::Host {
        env.push(format!("{NETWORK}=host"));
    }
    let limit = PosixRlimitBuilder::default()
        .typ(PosixRlimitType::RlimitNofile)
        .hard(lends.open_files)
        .soft(lends.open_files)
        .build()?;
    let process = ProcessBuilder::default()
        .terminal(false)
        .user(UserBuilder::default().uid(0u32).gid(0u32).umask(0o022u32).build()?)
        .args(spec.init.clone())
        .env(env)
        .cwd("/")
        .capabilities(capabilities(lends)?)
        .rlimits(vec![limit])
        .no_new_privileges(false)
        .build()?;
    SpecBuilder::default()
        .version("1.3.0")
        .process(process)
        .root(RootBuilder::default().path(names.rootfs()).readonly(false).build()?)
        .hostname(spec.name.clone())
        .mounts(mounts(names, spec, lends)?)
        .annotations(spec.labels.clone().into_iter().collect::<HashMap<_, _>>())
        .linux(linux(names, spec, lends, attachment)?)
        .build()
}

fn capabilities(lends: &Lends) -> oci_spec::Result<LinuxCapabilities> {
    let all = lends.capabilities();
    LinuxCapabilitiesBuilder::default()
        .bounding(all.clone())
        .effective(all.clone())
        .permitted(all)
        .inheritable(Capabilities::new())
        .ambient(Capabilities::new())
        .build()
}

fn linux(
    names: &MachineNames,
    spec: &MachineSpec,
    lends: &Lends,
    attachment: Attachment<'_>,
) -> oci_spec::Result<Linux> {
    let mut kinds = NAMESPACES.to_vec();
    let mut links = HashMap::new();
    // A link moves in with its address and comes up, so that nothing needs to enter the namespace.
    if let Attachment::Link { host, interface } = attachment {
        kinds.push(LinuxNamespaceType::Network);
        links.insert(host.to_owned(), LinuxNetDeviceBuilder::default().name(interface).build()?);
    }
    let namespaces = kinds.into_iter().map(|kind| LinuxNamespaceBuilder::default().typ(kind).build());
    let devices = lends.devices.iter().map(|device| {
        LinuxDeviceBuilder::default()
            .path(device.path)
            .typ(LinuxDeviceType::C)
            .major(device.major)
            .minor(device.minor)
            .file_mode(device.mode)
            .uid(0u32)
            .gid(0u32)
            .build()
    });
    LinuxBuilder::default()
        .namespaces(namespaces.collect::<oci_spec::Result<Vec<_>>>()?)
        .net_devices(links)
        .devices(devices.collect::<oci_spec::Result<Vec<_>>>()?)
        .cgroups_path(cgroups_path(names, lends.cgroups))
        .resources(resources(spec, lends)?)
        .rootfs_propagation("rshared")
        .masked_paths(Vec::new())
        .readonly_paths(Vec::new())
        .build()
}

fn cgroups_path(names: &MachineNames, cgroups: Cgroups) -> String {
    match cgroups {
        Cgroups::V1 | Cgroups::V2 => format!("/kcl/{}/{}", names.cluster.hash, names.name),
        // The format is slice:prefix:name; runc requests a delegated scope `kcl-<hash>-<name>.scope`.
        Cgroups::V2Systemd => format!("kcl.slice:kcl:{}-{}", names.cluster.hash, names.name),
    }
}

fn mounts(names: &MachineNames, spec: &MachineSpec, lends: &Lends) -> oci_spec::Result<Vec<Mount>> {
    let mount = |target: &Path, kind: &str, source: &Path, options: &[&str]| {
        MountBuilder::default()
            .destination(target)
            .typ(kind)
            .source(source)
            .options(options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
            .build()
    };
    let own = |target: &str, kind: &str, options: &[&str]| mount(target.as_ref(), kind, kind.as_ref(), options);
    let mut mounts = vec![
        own("/proc", "proc", &["nosuid", "nodev", "noexec"])?,
        own("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        own("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"])?,
        own("/dev/shm", "tmpfs", &["nosuid", "nodev", "noexec", "mode=1777"])?,
        own("/dev/mqueue", "mqueue", &["nosuid", "nodev", "noexec"])?,
        own("/sys", "sysfs", &["nosuid", "nodev", "noexec", "rw"])?,
        own("/sys/fs/cgroup", "cgroup", &["nosuid", "nodev", "noexec", "relatime", "rw"])?,
        own("/run", "tmpfs", &["nosuid", "nodev", "mode=755"])?,
        own("/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777"])?,
    ];
    for bind in binds(names, spec) {
        // Mounts that the kubelet and containerd make in a volume must reach the containers of the machine.
        let options: &[&str] = if bind.read_only { &["rbind", "rprivate", "ro"] } else { &["rbind", "rshared"] };
        mounts.push(mount(&bind.target, "bind", &bind.source, options)?);
    }
    for host in &spec.mounts {
        let options: &[&str] = match host.read_only {
            false => &["rbind", "rshared"],
            // With everything that is mounted below it, if the kernel can.
            true if lends.read_only_trees => &["rbind", "rshared", "rro"],
            true => &["rbind", "rshared", "ro"],
        };
        mounts.push(mount(&host.target, "bind", &host.source, options)?);
    }
    Ok(mounts)
}

fn resources(spec: &MachineSpec, lends: &Lends) -> oci_spec::Result<LinuxResources> {
    let devices = LinuxDeviceCgroupBuilder::default().allow(true).access("rwm").build()?;
    // Shares are a term of cgroup v1, with 1024 as the default; runc converts them to a weight on v2.
    let mut cpu = LinuxCpuBuilder::default().shares(u64::from(spec.cpu_weight) * 1024 / 100);
    if let Some(cpus) = spec.cpus {
        cpu = cpu.quota(i64::from(cpus) * CPU_PERIOD).period(CPU_PERIOD.unsigned_abs());
    }
    let mut resources = LinuxResourcesBuilder::default().devices(vec![devices]).cpu(cpu.build()?);
    // Also where systemd manages the groups: its default is for services, too few for a machine (TasksMax of
    // systemd.resource-control(5)).
    if let Some(processes) = lends.processes {
        resources = resources.pids(LinuxPidsBuilder::default().limit(processes).build()?);
    }
    if let Some(bytes) = spec.memory {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let mut memory = LinuxMemoryBuilder::default().limit(bytes);
        // This limits memory and swap together, so there is no swap.
        if lends.swap_limit {
            memory = memory.swap(bytes);
        }
        resources = resources.memory(memory.build()?);
    }
    resources.build()
}

#[cfg(test)]
mod tests;
