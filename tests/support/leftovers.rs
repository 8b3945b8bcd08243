//! Lists resources of clusters on this machine outside of their home. Only their own count, found by their home and the
//! hash of it that is in every name: other clusters may run at the same time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// More nodes than any test has.
const NODES: usize = 12;

/// The resources of a home's clusters on this machine.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// Processes: in their control groups, in their files, or with the home in their environment or command line.
    pub processes: Vec<(i32, String)>,
    /// Mounts of its files, in whichever mount namespace.
    pub mounts: Vec<String>,
    /// Bridges and links.
    pub links: Vec<String>,
    /// Tables of the packet filter.
    pub tables: Vec<String>,
    /// Named network namespaces.
    pub namespaces: Vec<String>,
    /// Control groups, of all hierarchies.
    pub groups: Vec<PathBuf>,
    /// Directories on the tmpfs.
    pub run: Vec<PathBuf>,
}

impl Traces {
    /// Looks for what the clusters `profiles` of `home` have, and for whoever uses files below `place`: the home, or a
    /// part of it.
    pub(crate) fn find(home: &Path, place: &Path, cache: &Path, profiles: &[String]) -> Self {
        let hashes: Vec<String> = profiles.iter().map(|profile| hash(home, &[profile])).collect();
        let machines: Vec<String> = profiles
            .iter()
            .flat_map(|profile| (0..NODES).map(move |index| hash(home, &[profile, &node_name(profile, index)])))
            .collect();
        let ours = |text: &str| hashes.iter().any(|hash| text.contains(hash.as_str()));
        let place = place.to_string_lossy();
        let (processes, mounts) = processes(&|text| text.contains(&*place) || ours(text), &place);
        let links = names(Path::new("/sys/class/net"));
        let link = |name: &String| ours(name) || machines.iter().any(|hash| name.contains(hash.as_str()));
        Traces {
            processes,
            mounts,
            links: links.into_iter().filter(link).collect(),
            tables: tables(cache).into_iter().filter(|table| ours(table)).collect(),
            namespaces: names(Path::new("/run/netns")).into_iter().filter(|name| link(name)).collect(),
            groups: groups(&ours),
            run: hashes.iter().map(|hash| Path::new("/run/kcl").join(hash)).filter(|path| path.exists()).collect(),
        }
    }

    /// All of it, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.processes.iter().map(|(pid, what)| format!("process {pid} {what}")).collect();
        let mut add = |kind: &str, what: &[String]| lines.extend(what.iter().map(|one| format!("{kind} {one}")));
        add("mount", &self.mounts);
        add("link", &self.links);
        add("table", &self.tables);
        add("network namespace", &self.namespaces);
        add("control group", &texts(&self.groups));
        add("directory", &texts(&self.run));
        lines
    }
}

fn texts(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.display().to_string()).collect()
}

/// The hash of the native driver's names; a running cluster proves that it is still the right one.
fn hash(home: &Path, parts: &[&str]) -> String {
    let mut sha = Sha256::new();
    sha.update(home.as_os_str().as_encoded_bytes());
    for part in parts {
        sha.update([0]);
        sha.update(part);
    }
    base16ct::lower::encode_string(&sha.finalize()[..4])
}

fn node_name(profile: &str, index: usize) -> String {
    kcl::config::node_name(profile, index)
}

/// The processes that have to do with it, and the mounts of what is below a directory as any process sees them.
fn processes(ours: &dyn Fn(&str) -> bool, place: &str) -> (Vec<(i32, String)>, Vec<String>) {
    let (mut found, mut mounts) = (Vec::new(), std::collections::BTreeSet::new());
    let own = std::process::id() as i32;
    for pid in names(Path::new("/proc")).iter().filter_map(|name| name.parse::<i32>().ok()).filter(|pid| *pid != own) {
        let path = PathBuf::from(format!("/proc/{pid}"));
        // Whatever cannot be read is of a process that ended.
        let read =
            |name: &str| String::from_utf8_lossy(&fs::read(path.join(name)).unwrap_or_default()).replace('\0', " ");
        let link = |name: &str| fs::read_link(path.join(name)).unwrap_or_default().to_string_lossy().into_owned();
        // One that has ended and that its parent, perhaps the host's own, has not asked for yet holds nothing.
        if read("stat").rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X'])) {
            continue;
        }
        let (command, group, environment) = (read("cmdline"), read("cgroup"), read("environ"));
        if [&command, &group, &environment, &link("cwd"), &link("root")].into_iter().any(|text| ours(text)) {
            found.push((pid, if command.is_empty() { read("comm") } else { command }));
        }
        let below = |line: &&str| line.contains(place);
        mounts.extend(read("mountinfo").lines().filter(below).map(str::to_owned));
    }
    (found, mounts.into_iter().collect())
}

/// The tables of the packet filter.
fn tables(cache: &Path) -> Vec<String> {
    super::Output::of(nft(cache).args(["list", "tables"])).ok().lines().map(str::to_owned).collect()
}

/// nft: the one of a node root file system in the cache, or the host's.
pub(super) fn nft(cache: &Path) -> Command {
    let trees = names(&cache.join("artifacts")).into_iter().map(|name| cache.join("artifacts").join(name));
    match trees.map(|entry| entry.join("rootfs")).find(|tree| tree.join("usr/sbin/nft").exists()) {
        Some(tree) => {
            let mut command = Command::new("chroot");
            command.arg(tree).arg("/usr/sbin/nft");
            command
        }
        None => Command::new("nft"),
    }
}

/// The control groups that are theirs, in all hierarchies.
fn groups(ours: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new("/sys/fs/cgroup").into_iter().flatten();
    all.filter(|entry| entry.file_type().is_dir() && ours(&entry.file_name().to_string_lossy()))
        .map(walkdir::DirEntry::into_path)
        .collect()
}

/// The names in a directory; none where it is not there.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
