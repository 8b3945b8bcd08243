//! What of a driver could be left on the host.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The host as far as the driver touches it.
pub struct Host {
    mounts: BTreeSet<String>,
    links: BTreeSet<String>,
    groups: BTreeSet<String>,
    processes: BTreeSet<String>,
    /// `net.ipv4.ip_forward`
    pub ip_forward: String,
}

impl Host {
    /// As it is now.
    pub fn look() -> Host {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let field = |line: &str| line.split(' ').nth(4).map(str::to_owned);
        Host {
            links: names(Path::new("/sys/class/net")).filter(|name| name.starts_with('k')).collect(),
            groups: groups(&mountinfo),
            processes: processes(),
            mounts: mountinfo.lines().filter_map(field).collect(),
            ip_forward: fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
        }
    }

    /// Nothing was added and nothing taken away.
    pub fn assert_same(&self, after: &Host) {
        let added = |before: &BTreeSet<String>, after: &BTreeSet<String>| -> Vec<String> {
            after.difference(before).cloned().collect()
        };
        assert_eq!(added(&self.mounts, &after.mounts), [] as [&str; 0], "mounts are left");
        assert_eq!(added(&self.links, &after.links), [] as [&str; 0], "links are left");
        assert_eq!(added(&self.groups, &after.groups), [] as [&str; 0], "control groups are left");
        assert_eq!(added(&self.processes, &after.processes), [] as [&str; 0], "processes are left");
        assert_eq!(self.ip_forward, after.ip_forward, "net.ipv4.ip_forward was changed");
    }
}

fn names(directory: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// The groups of kcl in every hierarchy.
fn groups(mountinfo: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for root in mountinfo.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4)) {
        let ours = Path::new(root).join("kcl");
        if ours.exists() {
            found.insert(ours.display().to_string());
        }
        found.extend(names(&ours).map(|name| ours.join(name).display().to_string()));
    }
    found
}

/// Processes of these tests' machines: whose mounts are of a directory of theirs, from runc's first step on.
fn processes() -> BTreeSet<String> {
    let numbers = names(Path::new("/proc")).filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let ours = numbers.filter_map(|pid| {
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?.replace('\0', " ");
        mounts.contains("kcl-native-").then(|| format!("{pid} {command}"))
    });
    ours.collect()
}
