//! A test's own directory and network namespace, and the proof that nothing of the test is left.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use kcl_driver_api::Driver;
use kcl_driver_native::{NativeConfig, NativeDriver};
use nix::sched::{CloneFlags, setns, unshare};

/// The place and the tools of a test.
pub(crate) struct Bench {
    /// The test's cluster; the names of all its machines begin with it.
    pub cluster: &'static str,
    /// The runc to run machines with.
    pub runc: PathBuf,
    /// A root file system with `sh` and `nft`.
    pub rootfs: PathBuf,
    /// The test's own directory.
    pub base: PathBuf,
    /// `net.ipv4.ip_forward` before the test.
    pub ip_forward: String,
}

/// Runs a test in a network namespace of its own, away from the host's networks and other tests. Afterwards nothing of
/// it is left. Skipped if this machine lacks something that the test needs.
pub(crate) fn run(cluster: &'static str, test: impl AsyncFnOnce(&Bench) + Send) {
    let Some((runc, rootfs)) = given() else { return };
    let body = move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let directory = tempfile::Builder::new().prefix("kcl-native-").tempdir().unwrap();
        let bench = Bench {
            cluster,
            runc,
            rootfs,
            base: directory.path().canonicalize().unwrap(),
            ip_forward: fs::read_to_string(IP_FORWARD).unwrap(),
        };
        let namespace = fs::File::open("/proc/thread-self/ns/net").unwrap();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.enable_all().on_thread_start(move || setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap());
        let runtime = runtime.build().unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(test(&bench))));
        if let Err(panic) = result {
            // A test that failed half-way must not fail others.
            runtime.block_on(bench.clean());
            resume_unwind(panic);
        }
        bench.assert_nothing_left();
    };
    if let Err(panic) = std::thread::scope(|scope| scope.spawn(body).join()) {
        resume_unwind(panic);
    }
}

/// Returns the variables of the tests, or none if they cannot run here.
pub(crate) fn given() -> Option<(PathBuf, PathBuf)> {
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let (Some(runc), Some(rootfs)) = (path("KCL_TEST_RUNC"), path("KCL_TEST_ROOTFS")) else {
        eprintln!("skipped: KCL_TEST_RUNC and KCL_TEST_ROOTFS are not set");
        return None;
    };
    for path in [&runc, &rootfs] {
        assert!(path.exists(), "{} is not there", path.display());
    }
    assert!(nix::unistd::geteuid().is_root(), "these tests need root");
    Some((runc, rootfs))
}

pub(crate) const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

impl Bench {
    /// Returns a driver for the bench's directory.
    pub(crate) fn driver(&self) -> NativeDriver {
        NativeDriver::new(self.config())
    }

    /// Returns the settings of the driver.
    pub(crate) fn config(&self) -> NativeConfig {
        NativeConfig {
            home: self.base.join("home"),
            run: self.base.join("run"),
            runc: Some(self.runc.clone()),
            rootfs: Some(self.rootfs.clone()),
        }
    }

    async fn clean(&self) {
        let driver = self.driver();
        for machine in driver.list(None).await.unwrap_or_default() {
            let _ = driver.delete(&machine.cluster, &machine.name).await;
        }
        for cluster in names(&self.base.join("home/clusters")).collect::<Vec<_>>() {
            let _ = driver.delete_network(&cluster).await;
        }
    }

    /// Lists the processes of this bench's machines, from runc's first step on: those that see a mount of its
    /// directory.
    pub(crate) fn processes(&self) -> Vec<String> {
        let numbers = names(Path::new("/proc")).filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        let ours = numbers.filter_map(|pid| {
            let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?.replace('\0', " ");
            mounts.contains(&*self.base.to_string_lossy()).then(|| format!("{pid} {command}"))
        });
        ours.collect()
    }

    /// Panics if the host or the directory has anything left of the test.
    pub(crate) fn assert_nothing_left(&self) {
        let none: [String; 0] = [];
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts: Vec<&str> = mountinfo.lines().filter(|line| line.contains(&*self.base.to_string_lossy())).collect();
        assert_eq!(mounts, none, "mounts are left");
        assert_eq!(self.processes(), none, "processes are left");
        let roots =
            mountinfo.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
        let clusters = roots.map(|root| Path::new(root).join("kcl"));
        let clusters = clusters.flat_map(|all| names(&all).map(|hash| all.join(hash)).collect::<Vec<_>>());
        let groups = clusters.flat_map(|hash| names(&hash).map(|name| hash.join(name)).collect::<Vec<_>>());
        let ours = groups.filter(|group| group.file_name().unwrap().to_string_lossy().starts_with(self.cluster));
        assert_eq!(ours.map(|group| group.display().to_string()).collect::<Vec<_>>(), none, "control groups are left");
        let links = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let links: Vec<&str> = links.lines().skip(2).filter_map(|line| line.trim().split(':').next()).collect();
        let made = |name: &&str| ["kcl-", "kv", "kp"].iter().any(|prefix| name.starts_with(prefix));
        assert_eq!(links.into_iter().filter(made).collect::<Vec<_>>(), none, "links are left");
        assert_eq!(fs::read_to_string(IP_FORWARD).unwrap(), self.ip_forward, "net.ipv4.ip_forward was changed");
        let files: Vec<PathBuf> = ["home/clusters", "run"]
            .iter()
            .flat_map(|name| fs::read_dir(self.base.join(name)).into_iter().flatten())
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with("lock"))
            .collect();
        assert_eq!(files, [] as [PathBuf; 0], "files are left");
    }
}

fn names(directory: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}
