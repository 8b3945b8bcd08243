//! What of the host stands for or against a cluster. Gathered here, judged in [`crate::preflight`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kcl_driver_api::{PreflightRequest, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::task::blocking;
use kcl_driver_oci::cgroup;
use kcl_driver_oci::host;
use kcl_driver_oci::measures::{Usage, controllers, inotify, meminfo};
use kcl_driver_oci::netlink::Taken;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;

use crate::context::Context;
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
    let space = statvfs(&existing).with_context(|| format!("look for free space in {}", existing.display()))?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).with_context(|| "read the limit of open files")?;
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

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {path}"))
}

fn number(path: &str) -> Result<u64> {
    read(path)?.trim().parse().with_context(|| format!("read a number from {path}"))
}
