//! A test's own directory, network namespace and hosts, and the proof that hosts are left as they were found.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use kcl_driver_ssh::{Hosts as Named, SshConfig, SshDriver};
use nix::sched::{CloneFlags, setns, unshare};

use crate::hosts::{Hosts, Kind, rootfs};

/// The setting of a test.
pub(crate) struct Bench {
    /// The test's cluster.
    pub cluster: &'static str,
    /// A root file system for nodes, with `sh` and `nft`.
    pub rootfs: PathBuf,
    /// The hosts of the test.
    pub hosts: Hosts,
    /// The test's own directory.
    pub base: PathBuf,
    runc: PathBuf,
    agent: Vec<u8>,
}

/// Runs a test with hosts of these kinds in a network namespace of its own. Afterwards the hosts are as before. Skipped
/// if this machine lacks something that the test needs.
pub(crate) fn run(cluster: &'static str, kinds: &[Kind], test: impl AsyncFnOnce(&Bench) + Send) {
    let Some(host) = rootfs() else { return };
    let Some((runc, nodes, agent)) = given() else { return };
    let body = move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let directory = tempfile::Builder::new().prefix("kcl-ssh-").tempdir().unwrap();
        let base = directory.path().canonicalize().unwrap();
        let namespace = fs::File::open("/proc/thread-self/ns/net").unwrap();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.enable_all().on_thread_start(move || setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap());
        let runtime = runtime.build().unwrap();
        let all = async {
            let hosts = Hosts::new(&base, &format!("{cluster}-host"), &runc, &host, kinds).await;
            Bench {
                cluster,
                rootfs: nodes,
                hosts,
                base: base.clone(),
                runc: runc.clone(),
                agent: fs::read(agent).unwrap(),
            }
        };
        let bench = runtime.block_on(all);
        let result = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                let before = bench.hosts.all_traces().await;
                test(&bench).await;
                bench.hosts.assert_as_before(&before).await;
            });
        }));
        runtime.block_on(bench.hosts.end());
        if let Err(panic) = result {
            resume_unwind(panic);
        }
    };
    if let Err(panic) = std::thread::scope(|scope| scope.spawn(body).join()) {
        resume_unwind(panic);
    }
}

fn given() -> Option<(PathBuf, PathBuf, PathBuf)> {
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let all = (path("KCL_TEST_RUNC"), path("KCL_TEST_ROOTFS"), path("KCL_TEST_AGENT"));
    let (Some(runc), Some(rootfs), Some(agent)) = all else {
        eprintln!("skipped: KCL_TEST_RUNC, KCL_TEST_ROOTFS and KCL_TEST_AGENT are not set");
        return None;
    };
    for path in [&runc, &rootfs, &agent] {
        assert!(Path::new(path).exists(), "{} is not there", path.display());
    }
    assert!(nix::unistd::geteuid().is_root(), "these tests need root");
    Some((runc, rootfs, agent))
}

impl Bench {
    /// Returns a driver for the hosts: the first is for the machine that has the cluster's name.
    pub(crate) fn driver(&self) -> SshDriver {
        SshDriver::new(self.config())
    }

    /// Returns the settings of the driver.
    pub(crate) fn config(&self) -> SshConfig {
        let name = |index: usize| match index {
            0 => self.cluster.to_owned(),
            _ => format!("{}-m{index:02}", self.cluster),
        };
        let named: Named =
            self.hosts.targets.iter().enumerate().map(|(index, target)| (name(index), target.clone())).collect();
        SshConfig {
            home: self.base.join("home"),
            hosts: named,
            agent: self.agent.clone(),
            runc: Some(self.runc.clone()),
            user_home: Some(self.hosts.user_home.clone()),
            ssh_agent: None,
            user: "root".to_owned(),
            sudo_password: None,
            accept_host_keys: true,
        }
    }
}
