//! The facts about a host that a machine on it depends on. Judged in [`crate::preflight`].

use std::fs;
use std::path::{Path, PathBuf};

use kcl_driver_api::Result;
use kcl_driver_local::checks::{Usage, meminfo};
use kcl_driver_local::context::Context as _;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};

use crate::measures::{controllers, inotify};
use crate::try_out::{self, Problem};
use crate::{cgroup, host};

/// The facts about a host that a machine on it depends on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostFacts {
    /// The capability bounding set of this process: bit n is capability n (capabilities(7)).
    pub capabilities: u64,
    /// The kernel's release: `6.1.0-25-amd64`.
    pub kernel: String,
    /// The controllers of control groups; none if no control groups are mounted.
    pub controllers: Option<Vec<String>>,
    /// The reason why an overlay cannot be mounted, if that was tried.
    pub overlay: Problem,
    /// The use of `fs.inotify.max_user_instances` by root, if it was counted.
    pub inotify_instances: Option<Usage>,
    /// The use of `fs.inotify.max_user_watches` by root, if it was counted.
    pub inotify_watches: Option<Usage>,
    /// The directory where machines are kept.
    pub home: PathBuf,
    /// Free bytes in it.
    pub disk_free: u64,
    /// Bytes of memory that are available without swapping.
    pub memory_available: u64,
    /// Bytes of memory.
    pub memory_total: u64,
    /// CPUs that this process may use.
    pub cpus: usize,
    /// The number of files that a process may be allowed to open.
    pub open_files: u64,
}

impl HostFacts {
    /// Reads the facts about this host. `thorough` adds those that take a moment or need root: it tries an overlay and
    /// counts inotify objects.
    ///
    /// # Errors
    /// `Host` if the kernel does not tell its mounts, limits or free space.
    pub fn gather(home: &Path, thorough: bool) -> Result<HostFacts> {
        let memory = read("/proc/meminfo");
        let mountinfo = cgroup::mountinfo()?;
        let existing = home.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        let space = statvfs(existing).with_context(|| format!("look for free space in {}", existing.display()))?;
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).with_context(|| "read the limit of open files")?;
        let capabilities = host::bounding_set(&read("/proc/self/status"));
        // With CAP_SYS_RESOURCE the limit can be raised up to the system's.
        let system = number("/proc/sys/fs/nr_open").filter(|_| host::has(capabilities, "SYS_RESOURCE"));
        let used = thorough.then(|| inotify(Path::new("/proc")));
        let usage = |name: &str, used| Some(Usage { limit: number(&format!("/proc/sys/fs/inotify/{name}"))?, used });
        Ok(HostFacts {
            capabilities,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            controllers: controllers(&cgroup::hierarchies(&mountinfo), &mountinfo),
            overlay: thorough.then(|| try_out::overlay(home)).flatten(),
            inotify_instances: used.and_then(|(instances, _)| usage("max_user_instances", instances)),
            inotify_watches: used.and_then(|(_, watches)| usage("max_user_watches", watches)),
            home: home.to_owned(),
            disk_free: space.blocks_available() * space.fragment_size(),
            memory_available: meminfo(&memory, "MemAvailable"),
            memory_total: meminfo(&memory, "MemTotal"),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            open_files: system.unwrap_or(hard),
        })
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn number(path: &str) -> Option<u64> {
    read(path).trim().parse().ok()
}
