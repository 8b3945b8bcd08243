//! The size of the machine as the kubelet sees it.
//!
//! The kubelet (its cadvisor) reads `/proc/meminfo` and `/sys/devices/system/{cpu,node}`, which show the whole host in
//! a container. A modified copy of these is mounted over them in a mount namespace of the kubelet alone: everything
//! else in the node sees the original, and pods in a user namespace can still mount `/proc` and `/sys` (the kernel
//! allows that only if nothing covers parts of them).

use std::ffi::CString;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::Path;

use kcl_node_spec::{Addresses, NodeSpec};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, unshare};
use nix::unistd::Pid;

use crate::console::say;
use crate::error::{Doing, Result};
use crate::files;

const ROOT: &str = "/run/kcl/capacity";
const CPUS: &str = "/sys/devices/system/cpu";
const NODES: &str = "/sys/devices/system/node";
const MEMINFO: &str = "/proc/meminfo";

/// The bind mounts of the modified files, for the process that calls [`View::enter`].
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    binds: Vec<(CString, CString)>,
}

impl View {
    /// Renders copies for the capacities that `spec` bounds; others get none.
    pub(crate) fn render(spec: &NodeSpec) -> Result<View> {
        let capacity = &spec.capacity;
        let mut view = View::default();
        let real = files::read(MEMINFO)?;
        let meminfo = capacity.memory.map_or_else(|| real.clone(), |bytes| clamp_meminfo(&real, bytes));
        if capacity.memory.is_some() {
            files::write(&Path::new(ROOT).join("meminfo"), meminfo.as_bytes(), 0o444)?;
            view.bind("meminfo", MEMINFO);
        }
        if let Some(cpus) = capacity.cpus {
            let chosen = choose_cpus(&allowed_cpus()?, cpus as usize, last_octet(spec.address).into());
            if chosen.len() < cpus as usize {
                say(format_args!("capacity.cpus is {cpus}, but the machine has only {}: that many", chosen.len()));
            }
            render_cpus(Path::new(ROOT), &chosen, &meminfo)?;
            view.bind("cpu", CPUS);
            view.bind("node", NODES);
        }
        Ok(view)
    }

    fn bind(&mut self, name: &str, target: &str) {
        let source = CString::new(format!("{ROOT}/{name}"));
        if let (Ok(source), Ok(target_c), true) = (source, CString::new(target), Path::new(target).exists()) {
            self.binds.push((source, target_c));
        }
    }

    /// Returns true if nothing is bounded.
    pub(crate) fn is_empty(&self) -> bool {
        self.binds.is_empty()
    }

    /// Moves the calling process into a mount namespace of its own with this view. Other mounts still propagate both
    /// ways. Called between fork and exec.
    pub(crate) fn enter(&self) -> nix::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        for root in [c"/proc", c"/sys"] {
            mount(None::<&str>, root, None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None::<&str>)?;
        }
        for (source, target) in &self.binds {
            mount(Some(source.as_c_str()), target.as_c_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        }
        Ok(())
    }
}

/// Returns `meminfo` of a machine with `bytes` of memory; everything else stays.
fn clamp_meminfo(meminfo: &str, bytes: u64) -> String {
    let total = bytes / 1024;
    let mut text = String::with_capacity(meminfo.len());
    for line in meminfo.lines() {
        let value = line.split_whitespace().nth(1).and_then(|value| value.parse::<u64>().ok());
        let key = line.split(':').next().unwrap_or_default();
        let shown = match (key, value) {
            ("MemTotal", _) => Some(total),
            ("MemFree" | "MemAvailable", Some(value)) => Some(value.min(total)),
            _ => None,
        };
        let _ = match shown {
            Some(value) => writeln!(text, "{:<15} {value:>8} kB", format!("{key}:")),
            None => writeln!(text, "{line}"),
        };
    }
    text
}

/// Returns the CPUs that the agent, and so its children, may use.
fn allowed_cpus() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).doing(|| "ask which CPUs may be used".to_owned())?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect())
}

/// Returns the last byte of an address, which tells nodes apart.
fn last_octet(addresses: Addresses) -> u8 {
    match addresses.primary() {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    }
}

/// Chooses `count` of the CPUs. The kubelet binds its pods to those that it sees, so each node of a host gets other
/// ones as far as possible: `index` differs between nodes.
fn choose_cpus(allowed: &[usize], count: usize, index: usize) -> Vec<usize> {
    let count = count.min(allowed.len());
    let mut chosen: Vec<usize> = (0..count).map(|cpu| allowed[(index * count + cpu) % allowed.len()]).collect();
    chosen.sort_unstable();
    chosen
}

/// Renders one memory node with all CPUs, each a core of one socket.
fn render_cpus(root: &Path, cpus: &[usize], meminfo: &str) -> Result<()> {
    for stale in ["cpu", "node"] {
        let _ = std::fs::remove_dir_all(root.join(stale));
    }
    let all = cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(",") + "\n";
    let node = root.join("node/node0");
    for list in ["online", "possible", "present"] {
        files::write(&root.join("cpu").join(list), all.as_bytes(), 0o444)?;
        files::write(&root.join("node").join(list), b"0\n", 0o444)?;
    }
    // Huge pages cannot be counted per node.
    files::create_dir(&node.join("hugepages"))?;
    files::write(&node.join("distance"), b"10\n", 0o444)?;
    files::write(&node.join("cpulist"), all.as_bytes(), 0o444)?;
    let per_node: String = meminfo.lines().map(|line| format!("Node 0 {line}\n")).collect();
    files::write(&node.join("meminfo"), per_node.as_bytes(), 0o444)?;
    for cpu in cpus {
        let topology = root.join(format!("cpu/cpu{cpu}/topology"));
        files::write(&topology.join("core_id"), format!("{cpu}\n").as_bytes(), 0o444)?;
        files::write(&topology.join("physical_package_id"), b"0\n", 0o444)?;
        let link = node.join(format!("cpu{cpu}"));
        symlink(format!("../../cpu/cpu{cpu}"), &link).doing(|| format!("make the link {}", link.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_the_rest_is_left() {
        let real =
            "MemTotal:       24681132 kB\nMemFree:         1000000 kB\nMemAvailable:   20000000 kB\nSwapTotal: 0 kB\n";
        let shown = clamp_meminfo(real, 2 << 30);
        let wanted =
            "MemTotal:        2097152 kB\nMemFree:         1000000 kB\nMemAvailable:    2097152 kB\nSwapTotal: 0 kB\n";
        assert_eq!(shown, wanted);
    }

    #[test]
    fn nodes_of_a_host_share_its_cpus_evenly() {
        assert_eq!(choose_cpus(&[0, 1], 1, 2), [0]);
        assert_eq!(choose_cpus(&[0, 1], 1, 3), [1]);
        assert_eq!(choose_cpus(&[0, 2, 4], 2, 3), [0, 2]);
        assert_eq!(choose_cpus(&[0, 2, 4], 2, 4), [0, 4]);
        assert_eq!(choose_cpus(&[0, 1], 5, 7), [0, 1]);
    }

    #[test]
    fn cpus_are_reached_through_their_node() {
        let dir = tempfile::tempdir().unwrap();
        render_cpus(dir.path(), &[0, 2], "MemTotal: 1 kB\n").unwrap();
        let core = dir.path().join("node/node0/cpu2/topology/core_id");
        assert_eq!(std::fs::read_to_string(core).unwrap(), "2\n");
        assert_eq!(std::fs::read_to_string(dir.path().join("cpu/online")).unwrap(), "0,2\n");
    }
}
