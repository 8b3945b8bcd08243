//! What of the host stands for or against a cluster. Gathered here, judged in [`crate::preflight`].

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kcl_driver_api::{PreflightRequest, Result};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;

use crate::Context;
use crate::cgroup;
use crate::doing::{Doing, blocking};
use crate::host;
use crate::netlink::Taken;
use crate::network;
use crate::probe::{self, Problem};

/// All that is judged.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Our effective user.
    pub uid: u32,
    /// Our capability bounding set.
    pub capabilities: u64,
    /// The kernel's release: `6.1.0-25-amd64`.
    pub kernel: String,
    /// Whether control groups are mounted, and which controllers there are.
    pub controllers: Option<Vec<String>>,
    /// Why an overlay cannot be mounted.
    pub overlay: Problem,
    /// Why bridges and links cannot be made.
    pub links: Problem,
    /// Why masquerading cannot be set.
    pub filter: Problem,
    /// `fs.inotify.max_user_instances` and how many root has.
    pub inotify_instances: Usage,
    /// `fs.inotify.max_user_watches` and how many root has.
    pub inotify_watches: Usage,
    /// What a network could collide with.
    pub taken: Vec<Taken>,
    /// The cluster's own bridge, which it does not collide with.
    pub bridge: String,
    /// Where machines lie.
    pub home: PathBuf,
    /// Bytes free there.
    pub disk_free: u64,
    /// Bytes of memory that can be had without swapping.
    pub memory_available: u64,
    /// Bytes of memory.
    pub memory_total: u64,
    /// CPUs that we may use.
    pub cpus: usize,
    /// How many open files a process may be allowed.
    pub open_files: u64,
}

/// How much of something there is and how much is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The limit.
    pub limit: u64,
    /// What is used of it.
    pub used: u64,
}

/// Looks at the host.
pub(crate) async fn gather(context: &Arc<Context>, request: &PreflightRequest) -> Result<Facts> {
    let taken = network::taken(context, &request.cluster).await?;
    let bridge = context.layout.cluster(&request.cluster)?.bridge;
    let context = context.clone();
    blocking(move || look(&context, taken, bridge)).await
}

fn look(context: &Context, taken: Vec<Taken>, bridge: String) -> Result<Facts> {
    let uid = nix::unistd::geteuid().as_raw();
    let status = read("/proc/self/status")?;
    let memory = read("/proc/meminfo")?;
    let mountinfo = cgroup::mountinfo()?;
    let home = context.layout.home.clone();
    let existing = home.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned();
    let space = statvfs(&existing).doing(|| format!("look for free space in {}", existing.display()))?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).doing(|| "read the limit of open files")?;
    let capabilities = host::bounding_set(&status);
    let (instances, watches) = inotify(Path::new("/proc"));
    // Only root can try.
    let (overlay, (links, filter)) = if uid == 0 {
        (probe::overlay(&home), probe::network(context.rootfs.as_deref()))
    } else {
        (None, (None, None))
    };
    Ok(Facts {
        uid,
        capabilities,
        kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        controllers: controllers(&cgroup::hierarchies(&mountinfo), &mountinfo),
        overlay,
        links,
        filter,
        inotify_instances: Usage { limit: number("/proc/sys/fs/inotify/max_user_instances")?, used: instances },
        inotify_watches: Usage { limit: number("/proc/sys/fs/inotify/max_user_watches")?, used: watches },
        taken,
        bridge,
        home,
        disk_free: space.blocks_available() * space.fragment_size(),
        memory_available: meminfo(&memory, "MemAvailable"),
        memory_total: meminfo(&memory, "MemTotal"),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        open_files: if host::has(capabilities, "SYS_RESOURCE") { number("/proc/sys/fs/nr_open")? } else { hard },
    })
}

/// The controllers of all hierarchies; none where none is mounted.
fn controllers(hierarchies: &[PathBuf], mountinfo: &str) -> Option<Vec<String>> {
    if hierarchies.is_empty() {
        return None;
    }
    // Version 2 lists them; in version 1 they are options of the mounts.
    let listed = hierarchies.iter().filter_map(|root| fs::read_to_string(root.join("cgroup.controllers")).ok());
    let mut all: Vec<String> =
        listed.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    for line in mountinfo.lines().filter(|line| line.contains(" - cgroup ")) {
        all.extend(line.rsplit(' ').next().unwrap_or("").split(',').map(str::to_owned));
    }
    Some(all)
}

/// How many inotify instances and watches root's processes have: links to `anon_inode:inotify`, and the lines of
/// proc_pid_fdinfo(5). A process that ends meanwhile is passed over.
fn inotify(proc: &Path) -> (u64, u64) {
    let (mut instances, mut watches) = (0, 0);
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    for process in
        processes.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
    {
        if !process.metadata().is_ok_and(|meta| meta.uid() == 0) {
            continue;
        }
        for fd in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            if fs::read_link(fd.path()).is_ok_and(|target| target == Path::new("anon_inode:inotify")) {
                instances += 1;
                let info = fs::read_to_string(process.path().join("fdinfo").join(fd.file_name())).unwrap_or_default();
                watches += info.lines().filter(|line| line.starts_with("inotify ")).count() as u64;
            }
        }
    }
    (instances, watches)
}

/// A field of proc_meminfo(5) in bytes.
fn meminfo(text: &str, field: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib: Option<u64> = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) * 1024
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).doing(|| format!("read {path}"))
}

fn number(path: &str) -> Result<u64> {
    read(path)?.trim().parse().doing(|| format!("read a number from {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_bytes() {
        let text = "MemTotal:       24684096 kB\nMemFree:         100 kB\nMemAvailable:       200 kB\n";
        assert_eq!((meminfo(text, "MemTotal"), meminfo(text, "MemAvailable")), (24_684_096 * 1024, 200 * 1024));
    }

    #[test]
    fn our_own_inotify_instance_is_counted() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root's instances are counted");
            return;
        }
        let tree = tempfile::tempdir().unwrap();
        let mine = tree.path().join(std::process::id().to_string());
        fs::create_dir_all(mine.join("fd")).unwrap();
        fs::create_dir_all(mine.join("fdinfo")).unwrap();
        std::os::unix::fs::symlink("anon_inode:inotify", mine.join("fd/3")).unwrap();
        fs::write(mine.join("fdinfo/3"), "pos:\t0\ninotify wd:1 ino:2\ninotify wd:2 ino:3\n").unwrap();
        assert_eq!(inotify(tree.path()), (1, 2));
    }
}
