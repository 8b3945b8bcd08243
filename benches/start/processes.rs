//! Measures the processes of a cluster's nodes, found by the names of their control groups.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The resources of an idle cluster.
pub(crate) struct Idle {
    /// Proportional set size of all processes, in MiB (`man 5 proc`, smaps_rollup).
    pub memory_mib: f64,
    /// The number of busy cores.
    pub cores: f64,
    /// Memory by program, in MiB, largest first.
    pub by_program: Vec<(String, f64)>,
}

/// Looks at the nodes of a cluster for a while.
pub(crate) fn idle(cluster: &str, time: Duration) -> io::Result<Idle> {
    let before = cpu_ticks(cluster)?;
    std::thread::sleep(time);
    let after = cpu_ticks(cluster)?;
    let ticks: u64 = after.iter().map(|(pid, ticks)| ticks - before.get(pid).copied().unwrap_or(0).min(*ticks)).sum();
    let mut by_program: BTreeMap<String, f64> = BTreeMap::new();
    for process in processes(cluster)? {
        let Ok(rollup) = fs::read_to_string(process.join("smaps_rollup")) else { continue };
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib: f64 = pss.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0.0);
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned();
        *by_program.entry(name).or_default() += kib / 1024.0;
    }
    let mut by_program: Vec<(String, f64)> = by_program.into_iter().collect();
    by_program.sort_by(|a, b| b.1.total_cmp(&a.1));
    let memory_mib = by_program.iter().map(|(_, mib)| mib).sum();
    Ok(Idle { memory_mib, cores: ticks as f64 / ticks_per_second() / time.as_secs_f64(), by_program })
}

fn ticks_per_second() -> f64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64
}

/// The processes of the nodes `<cluster>`, `<cluster>-m02`, …
fn processes(cluster: &str) -> io::Result<Vec<PathBuf>> {
    let node = format!("/{cluster}");
    let all = fs::read_dir("/proc")?.flatten().map(|entry| entry.path());
    Ok(all.filter(|path| fs::read_to_string(path.join("cgroup")).is_ok_and(|text| text.contains(&node))).collect())
}

/// User and system time of each, with that of its waited-for children (`man 5 proc`, stat, fields 14 to 17).
fn cpu_ticks(cluster: &str) -> io::Result<BTreeMap<PathBuf, u64>> {
    let ticks = |process: PathBuf| {
        let stat = fs::read_to_string(process.join("stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = (11..15).filter_map(|index| fields.get(index)?.parse::<u64>().ok()).sum();
        Some((process, ticks))
    };
    Ok(processes(cluster)?.into_iter().filter_map(ticks).collect())
}
