//! The driver contract with a real daemon, and what only this driver promises.
//!
//! Needs root, `dockerd` and `KCL_TEST_ROOTFS` (an unpacked root file system with `sh`).

#[path = "../../../tests/support/dockerd.rs"]
#[allow(dead_code)]
mod dockerd;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use dockerd::{Dockerd, own_network};
use kcl_driver_api::contract::{self, Fixture, GREETING, VOLUME};
use kcl_driver_api::{
    Driver, ErrorKind, Exec, File, Machine, MachineSpec, NetworkSpec, Power, PreflightRequest, Reach, Tree, TreeUse,
};
use kcl_driver_docker::{DockerConfig, DockerDriver};
use nix::sched::{CloneFlags, setns};

/// Where a test works and what it works with.
struct Bench {
    dir: PathBuf,
    rootfs: PathBuf,
    daemon: Dockerd,
}

impl Bench {
    fn driver(&self) -> DockerDriver {
        self.driver_of("home")
    }

    fn driver_of(&self, home: &str) -> DockerDriver {
        DockerDriver::new(DockerConfig { home: self.dir.join(home), host: Some(self.daemon.host()) })
    }
}

/// Runs a test with a daemon of its own. Afterwards nothing of it is left. Skipped where the machine lacks what it needs.
fn run(test: impl AsyncFnOnce(&mut Bench) + Send) {
    let Some(rootfs) = std::env::var_os("KCL_TEST_ROOTFS").map(PathBuf::from) else {
        eprintln!("skipped: KCL_TEST_ROOTFS is not set");
        return;
    };
    assert!(rootfs.is_dir(), "{} is not there", rootfs.display());
    assert!(nix::unistd::geteuid().is_root(), "these tests need root");
    own_network(|| {
        let dir = tempfile::Builder::new().prefix("kcl-docker-").tempdir().unwrap();
        let daemon = Dockerd::start(dir.path(), &[]);
        let mut bench = Bench { dir: dir.path().to_owned(), rootfs, daemon };
        let namespace = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.enable_all().on_thread_start(move || setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap());
        runtime.build().unwrap().block_on(test(&mut bench));
        assert_eq!(bench.daemon.left(), [""; 0]);
        let links = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        assert!(!links.contains("kcld-"), "{links}");
    });
}

fn spec(cluster: &str, name: &str, address: Ipv4Addr, rootfs: &Path) -> MachineSpec {
    let script = format!("trap 'exit 0' TERM; echo '{GREETING}'; while :; do sleep 1000 & wait; done");
    MachineSpec {
        cluster: cluster.into(),
        name: name.into(),
        address,
        cpus: None,
        cpu_weight: 100,
        memory: None,
        rootfs: rootfs.into(),
        trees: Vec::new(),
        volumes: vec![VOLUME.into(), "/var/log".into()],
        ports: Vec::new(),
        init: ["/bin/sh", "-c", &script].map(String::from).to_vec(),
        labels: [("kcl.cluster".into(), cluster.into())].into(),
    }
}

/// One machine on a network, powered on.
async fn one(driver: &dyn Driver, spec: impl FnOnce(Ipv4Addr) -> MachineSpec, cluster: &str) -> Box<dyn Machine> {
    let subnet = driver.propose_subnet(cluster).await.unwrap();
    let network = driver.ensure_network(&NetworkSpec::new(cluster, subnet)).await.unwrap();
    let machine = driver.create(&spec(network.subnet.hosts().nth(9).unwrap())).await.unwrap();
    machine.power_on().await.unwrap();
    machine
}

async fn output(machine: &dyn Machine, script: &str) -> String {
    let output = machine.exec(Exec::new(["sh", "-c", script])).await.unwrap();
    assert_eq!(output.code, 0, "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn end(driver: &dyn Driver, cluster: &str) {
    for machine in driver.list(Some(cluster)).await.unwrap() {
        driver.delete(cluster, &machine.name).await.unwrap();
    }
    driver.delete_network(cluster).await.unwrap();
}

#[test]
fn keeps_the_contract_and_leaves_nothing() {
    run(async |bench| {
        let rootfs = bench.rootfs.clone();
        let spec = move |name: &str, address| spec("kd-contract", name, address, &rootfs);
        contract::all(&bench.driver(), &Fixture { cluster: "kd-contract".into(), spec: Box::new(spec) }).await;
    });
}
