//! The driver contract with real machines, and what only this driver promises.
//!
//! Needs `qemu-system-x86_64`, `mke2fs` and `KCL_TEST_ROOTFS` (an unpacked root file system with `sh`), `KCL_TEST_KERNEL`
//! (the kernel's artifact) and `KCL_TEST_AGENT` (a static `kcl-node`). Root is not needed.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use kcl_driver_api::contract::{self, Fixture, GREETING, VOLUME};
use kcl_driver_api::{
    Driver, ErrorKind, Exec, File, Machine, MachineSpec, NetworkSpec, Power, Protocol, PublishedPort, Tree, TreeUse,
};
use kcl_driver_qemu::{GuestFiles, QemuConfig, QemuDriver};

/// Where a test works and what it works with.
struct Bench {
    directory: tempfile::TempDir,
    rootfs: PathBuf,
    files: GuestFiles,
}

impl Bench {
    /// Nothing where the test cannot run here.
    fn new() -> Option<Bench> {
        let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let given = (path("KCL_TEST_ROOTFS"), path("KCL_TEST_KERNEL"), path("KCL_TEST_AGENT"));
        let (Some(rootfs), Some(kernel), Some(agent)) = given else {
            eprintln!("skipped: KCL_TEST_ROOTFS, KCL_TEST_KERNEL and KCL_TEST_AGENT are not set");
            return None;
        };
        let files = GuestFiles { kernel: kernel.join("vmlinuz"), modules: kernel.join("modules"), agent };
        for path in [&rootfs, &files.kernel, &files.modules, &files.agent] {
            assert!(path.exists(), "{} is not there", path.display());
        }
        let directory = tempfile::Builder::new().prefix("kq-").tempdir().unwrap();
        Some(Bench { directory, rootfs, files })
    }

    fn base(&self) -> &Path {
        self.directory.path()
    }

    fn driver(&self) -> QemuDriver {
        QemuDriver::new(QemuConfig {
            home: self.base().join("home"),
            run: self.base().join("run"),
            images: self.base().join("images"),
            files: Some(self.files.clone()),
        })
    }

    /// Nothing of the test runs or lies in its directory, but what was found out and the disks that may be used again.
    fn assert_nothing_left(&self) {
        let base = self.base().to_string_lossy().into_owned();
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let commands = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
        let left: Vec<String> = commands.filter(|command| command.contains(&base)).collect();
        assert_eq!(left, [] as [String; 0], "processes are left");
        let left: Vec<PathBuf> = ["home/clusters", "run"]
            .iter()
            .flat_map(|name| std::fs::read_dir(self.base().join(name)).into_iter().flatten())
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with("accelerator-"))
            .collect();
        assert_eq!(left, [] as [PathBuf; 0], "files are left");
        let images = std::fs::read_dir(self.base().join("images")).into_iter().flatten();
        for image in images.map(|entry| entry.unwrap().path()) {
            assert_eq!(image.extension().unwrap(), "ext4", "{} is left", image.display());
        }
    }
}

impl Drop for Bench {
    /// A test that failed half-way must not leave its machines behind.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let driver = self.driver();
            let clean = async move {
                for machine in driver.list(None).await.unwrap_or_default() {
                    let _ = driver.delete(&machine.cluster, &machine.name).await;
                }
            };
            let run = || tokio::runtime::Runtime::new().unwrap().block_on(clean);
            std::thread::scope(|scope| drop(scope.spawn(run).join()));
        }
    }
}

fn spec(cluster: &str, name: &str, address: Ipv4Addr, rootfs: &Path) -> MachineSpec {
    let script = format!("trap 'exit 0' TERM; echo '{GREETING}'; while :; do sleep 1000 & wait; done");
    MachineSpec {
        cluster: cluster.into(),
        name: name.into(),
        address,
        cpus: Some(1),
        cpu_weight: 100,
        memory: Some(256 << 20),
        rootfs: rootfs.into(),
        trees: Vec::new(),
        volumes: vec![VOLUME.into(), "/var/log".into()],
        ports: Vec::new(),
        init: ["/bin/sh", "-c", &script].map(String::from).to_vec(),
        labels: [("kcl.cluster".into(), cluster.into())].into(),
    }
}

/// One machine on a network, powered on.
async fn one(driver: &dyn Driver, cluster: &str, spec: impl FnOnce(Ipv4Addr) -> MachineSpec) -> Box<dyn Machine> {
    let subnet = driver.propose_subnet(cluster).await.unwrap();
    let network = driver.ensure_network(&NetworkSpec::new(cluster, subnet)).await.unwrap();
    let machine = driver.create(&spec(network.subnet.hosts().nth(9).unwrap())).await.unwrap();
    let begun = Instant::now();
    machine.power_on().await.unwrap();
    println!("{} booted after {} ms", machine.name(), begun.elapsed().as_millis());
    machine
}

async fn output(machine: &dyn Machine, script: &str) -> String {
    let output = machine.exec(Exec::new(["sh", "-c", script])).await.unwrap();
    assert_eq!(output.code, 0, "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_and_leaves_nothing() {
    let Some(bench) = Bench::new() else { return };
    let rootfs = bench.rootfs.clone();
    let make = move |name: &str, address| spec("kq-contract", name, address, &rootfs);
    let fixture = Fixture { cluster: "kq-contract".into(), spec: Box::new(make) };
    contract::all(&bench.driver(), &fixture).await;
    bench.assert_nothing_left();
}
