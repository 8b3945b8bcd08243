//! Kills the processes in a machine's control groups and removes the groups.
//!
//! The groups are found by name in every mounted hierarchy, so this works without runc, without its state, and at any
//! stage of the machine's creation.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kcl_driver_api::{Error, Result};
use kcl_driver_local::context::Context as _;
use nix::errno::Errno;

use crate::layout::{ClusterNames, MachineNames};
use crate::process;

/// The time that killed processes may take to end.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// Returns the roots of all mounted hierarchies, of both versions.
pub fn hierarchies(mountinfo: &str) -> Vec<PathBuf> {
    let kind = |line: &str| line.split(" - ").nth(1).is_some_and(|rest| rest.starts_with("cgroup"));
    let target = |line: &str| line.split(' ').nth(4).map(PathBuf::from);
    mountinfo.lines().filter(|line| kind(line)).filter_map(target).collect()
}

/// Returns the machine's directories: below kcl's own group, or a scope of systemd.
fn groups(names: &MachineNames) -> Result<Vec<PathBuf>> {
    let ours = Path::new("kcl").join(&names.cluster.hash).join(&names.name);
    let scope = Path::new("kcl.slice").join(format!("kcl-{}-{}.scope", names.cluster.hash, names.name));
    let mountinfo = mountinfo()?;
    let all = hierarchies(&mountinfo).into_iter().flat_map(|root| [root.join(&ours), root.join(&scope)]);
    Ok(all.filter(|group| group.is_dir()).collect())
}

/// Reads the mounts of this process from proc_pid_mountinfo(5).
pub fn mountinfo() -> Result<String> {
    fs::read_to_string("/proc/self/mountinfo").with_context(|| "read /proc/self/mountinfo")
}

/// Makes the machine's group in every hierarchy, so that the removal of empty groups spares the groups above it until
/// runc is there. If systemd manages the groups, there is nothing to reserve.
pub fn reserve(names: &MachineNames) -> Result<()> {
    let ours = Path::new("kcl").join(&names.cluster.hash).join(&names.name);
    for root in hierarchies(&mountinfo()?) {
        let group = root.join(&ours);
        fs::create_dir_all(&group).with_context(|| format!("make the control group {}", group.display()))?;
    }
    Ok(())
}

/// Kills all processes of the machine and removes its groups.
pub fn clear(names: &MachineNames) -> Result<()> {
    let groups = groups(names)?;
    let end = Instant::now() + KILL_LIMIT;
    loop {
        kill(&groups)?;
        let Some(busy) = remove(&groups)? else { return Ok(()) };
        if Instant::now() > end {
            return Err(Error::engine(format!(
                "could not remove the control group {}: it is still in use",
                busy.display()
            )));
        }
        // The kernel removes a dead process from its group only after its last switch, shortly after its end is
        // reported. Version 1 has no event for it, so there is nothing to watch. A kcl that was killed may also have
        // started a process there in the meantime.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Kills all processes in groups and the groups below them, until none is left.
fn kill(groups: &[PathBuf]) -> Result<()> {
    loop {
        let mut pids: Vec<i32> = Vec::new();
        for group in groups {
            // One write kills all if the kernel supports it (cgroup v2, Linux 5.14); what it missed is found below.
            let _ = fs::write(group.join("cgroup.kill"), "1");
            collect(group, &mut pids)?;
        }
        if pids.is_empty() {
            return Ok(());
        }
        pids.sort_unstable();
        pids.dedup();
        process::kill_all(&pids, KILL_LIMIT)?;
    }
}

/// Removes the groups above those of the machines if they are empty.
pub fn remove_cluster(names: &ClusterNames) -> Result<()> {
    for root in hierarchies(&mountinfo()?) {
        for group in [root.join("kcl").join(&names.hash), root.join("kcl")] {
            match fs::remove_dir(&group) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // The groups of another cluster are in it.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("remove the control group {}", group.display()));
                }
            }
        }
    }
    Ok(())
}

/// Returns the processes in a group and the groups below it. Threads in threaded groups are found by their process
/// above.
fn collect(group: &Path, pids: &mut Vec<i32>) -> Result<()> {
    match fs::read_to_string(group.join("cgroup.procs")) {
        // 0 is a process of another PID namespace, which has no number here.
        Ok(list) => pids.extend(list.lines().filter_map(|pid| pid.parse::<i32>().ok()).filter(|pid| *pid != 0)),
        Err(error) if is_gone(&error) || error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {}
        Err(error) => return Err(error).with_context(|| format!("read the processes of {}", group.display())),
    }
    children(group)?.iter().try_for_each(|child| collect(child, pids))
}

/// Removes groups and the groups below them. Stops at the first busy one and returns it.
fn remove(groups: &[PathBuf]) -> Result<Option<PathBuf>> {
    for group in groups {
        if let Some(busy) = remove(&children(group)?)? {
            return Ok(Some(busy));
        }
        match fs::remove_dir(group) {
            Ok(()) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Ok(Some(group.clone())),
            Err(error) => return Err(error).with_context(|| format!("remove the control group {}", group.display())),
        }
    }
    Ok(None)
}

fn children(group: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(group) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("read {}", group.display())),
    };
    Ok(entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect())
}

/// Recognizes a group that was removed while it was read: its files then return ENODEV.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ENODEV as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions() {
        let v1 = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
            31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n";
        assert_eq!(hierarchies(v1), [PathBuf::from("/sys/fs/cgroup/cpu"), PathBuf::from("/sys/fs/cgroup/unified")]);
        let v2 = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(hierarchies(v2), [PathBuf::from("/sys/fs/cgroup")]);
    }
}
