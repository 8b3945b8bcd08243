//! The driver contract with real machines, and what only this driver promises: nothing of it is left on the host.
//!
//! Needs root, `KCL_TEST_RUNC` (a runc) and `KCL_TEST_ROOTFS` (an unpacked root file system with `sh` and `nft`).

// The guard is held over awaits on purpose: each test has a runtime of its own.
#![allow(clippy::await_holding_lock)]

mod leftovers;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_driver_api::contract::{self, Fixture, GREETING, VOLUME};
use kcl_driver_api::{Driver, Exec, File, Machine, MachineSpec, NetworkSpec, Power, PreflightRequest, Tree, TreeUse};
use kcl_driver_native::{NativeConfig, NativeDriver};
use leftovers::Host;

/// Set in the child that is to be killed while it makes machines: the directory to make them in.
const VICTIM: &str = "KCL_TEST_VICTIM";

/// What the tests are given, or nothing where they cannot run here.
fn given() -> Option<(PathBuf, PathBuf)> {
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

fn driver(base: &Path, (runc, rootfs): &(PathBuf, PathBuf)) -> NativeDriver {
    NativeDriver::new(NativeConfig {
        home: base.join("home"),
        run: base.join("run"),
        runc: Some(runc.clone()),
        rootfs: Some(rootfs.clone()),
    })
}

fn spec(cluster: &str, name: &str, address: Ipv4Addr, rootfs: &Path) -> MachineSpec {
    let script = format!("echo '{GREETING}'; trap 'exit 0' TERM; while :; do sleep 1000 & wait; done");
    MachineSpec {
        cluster: cluster.into(),
        name: name.into(),
        address,
        cpus: None,
        memory: None,
        rootfs: rootfs.into(),
        trees: Vec::new(),
        volumes: vec![VOLUME.into(), "/var/log".into()],
        init: ["/bin/sh", "-c", &script].map(String::from).to_vec(),
        labels: [("kcl.cluster".into(), cluster.into())].into(),
    }
}

fn fixture(cluster: &'static str, rootfs: &Path) -> Fixture {
    let rootfs = rootfs.to_owned();
    Fixture { cluster: cluster.into(), spec: Box::new(move |name, address| spec(cluster, name, address, &rootfs)) }
}

/// One test at a time, as each compares the whole host before and after.
static ALONE: Mutex<()> = Mutex::new(());

/// A test's own directory, and the host before it.
struct Bench {
    base: tempfile::TempDir,
    before: Host,
    _alone: MutexGuard<'static, ()>,
}

impl Bench {
    fn new() -> Bench {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Bench {
            _alone: alone,
            base: tempfile::Builder::new().prefix("kcl-native-").tempdir().unwrap(),
            before: Host::look(),
        }
    }

    /// Nothing of the test's is left, on the host or in its directory.
    fn end(self) {
        let files: Vec<PathBuf> = ["home/clusters", "run"]
            .iter()
            .flat_map(|name| std::fs::read_dir(self.base.path().join(name)).into_iter().flatten())
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with("lock"))
            .collect();
        assert_eq!(files, [] as [PathBuf; 0], "files are left");
        self.before.assert_same(&Host::look());
    }
}

/// One machine on a network, powered on.
async fn one(driver: &dyn Driver, spec: impl FnOnce(Ipv4Addr) -> MachineSpec, cluster: &str) -> Box<dyn Machine> {
    let subnet = driver.propose_subnet(cluster).await.unwrap();
    let network = driver.ensure_network(&NetworkSpec { cluster: cluster.into(), subnet }).await.unwrap();
    let address = network.subnet.hosts().nth(9).unwrap();
    let machine = driver.create(&spec(address)).await.unwrap();
    machine.power_on().await.unwrap();
    machine
}

async fn output(machine: &dyn Machine, script: &str) -> String {
    let output = machine.exec(Exec::new(["sh", "-c", script])).await.unwrap();
    assert_eq!(output.code, 0, "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_and_leaves_nothing() {
    let Some(given) = given() else { return };
    let bench = Bench::new();
    contract::all(&driver(bench.base.path(), &given), &fixture("contract", &given.1)).await;
    bench.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_looks_like_a_computer() {
    let Some(given) = given() else { return };
    let bench = Bench::new();
    let driver = driver(bench.base.path(), &given);
    let seed = bench.base.path().join("seed");
    std::fs::create_dir_all(&seed).unwrap();
    std::fs::write(seed.join("blob"), "blob").unwrap();
    std::fs::write(seed.join("meta.db"), "db").unwrap();
    let tree = |target: &str, usage| Tree { source: seed.clone(), target: target.into(), usage };
    let copied = || TreeUse::Seed { copied: vec![".db".into()] };
    let trees = vec![
        tree("/opt/shared", TreeUse::ReadOnly),
        tree(&format!("{VOLUME}/seed"), copied()),
        tree("/opt/own/seed", copied()),
    ];
    let make = |address| MachineSpec {
        trees,
        cpus: Some(1),
        memory: Some(256 << 20),
        ..spec("looks", "looks", address, &given.1)
    };
    let machine = one(&driver, make, "looks").await;
    let m = &*machine;

    assert_eq!(output(m, "hostname; cat /proc/1/comm").await, "looks\nsh");
    assert!(output(m, "ip -4 -o addr show eth0").await.contains("10.89."));
    assert!(output(m, "ip link show eth0").await.contains("state UP"));
    let gateway = driver.propose_subnet("looks").await.unwrap().hosts().next().unwrap();
    output(m, &format!("ip route add default via {gateway}; ip neigh; ip route get {gateway}")).await;
    // What is mounted where, shared within the machine, and nothing of it on the host.
    let mounts = output(m, "cat /proc/self/mountinfo").await;
    for target in ["/", "/proc", "/sys", "/sys/fs/cgroup", "/run", "/tmp", VOLUME, "/opt/shared"] {
        let line = mounts
            .lines()
            .find(|line| line.split(' ').nth(4) == Some(target))
            .unwrap_or_else(|| panic!("{target}: {mounts}"));
        assert!(target == "/opt/shared" || line.contains("shared:"), "{line}");
    }
    output(m, &format!("mkdir {VOLUME}/m && mount -t tmpfs none {VOLUME}/m && mount -t tmpfs none /mnt")).await;
    assert!(!std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains("kcl-native-"));
    // Trees: read-only ones are, seeds are the machine's own.
    output(m, "! touch /opt/shared/x && touch /opt/own/seed/x && cat /opt/shared/blob /opt/own/seed/meta.db").await;
    output(m, &format!("echo changed > {VOLUME}/seed/meta.db")).await;
    assert_eq!(std::fs::read(seed.join("meta.db")).unwrap(), b"db");
    // Control groups: writable, with our limits, and commands are in them.
    assert_eq!(output(m, "cut -d: -f3 /proc/self/cgroup | sort -u").await, "/");
    output(m, "for d in /sys/fs/cgroup /sys/fs/cgroup/memory; do test -w $d/cgroup.procs && mkdir $d/sub && rmdir $d/sub; done; true").await;
    let limit =
        output(m, "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || true")
            .await;
    assert_eq!(limit, (256 << 20).to_string());
    output(m, "mkdir -p /sys/fs/cgroup/memory/a/b /sys/fs/cgroup/pids/a/b 2>/dev/null || mkdir -p /sys/fs/cgroup/a/b")
        .await;
    // Devices.
    output(m, "test -c /dev/null -a -c /dev/kmsg && echo x > /dev/null").await;
    assert_eq!(
        output(m, "ulimit -Hn").await,
        output(m, "sed -n 's/Max open files *[0-9]* *\\([0-9]*\\).*/\\1/p' /proc/1/limits").await
    );
    // A process that is in no hurry and in a group of its own goes with the machine.
    output(m, "setsid sleep 100000 > /dev/null 2>&1 &").await;
    machine.put(&[File { path: "/lib/systemd/kcl-test".into(), mode: 0o644, content: b"x".to_vec() }]).await.unwrap();
    assert_eq!(output(m, "cat /usr/lib/systemd/kcl-test").await, "x");

    driver.delete("looks", "looks").await.unwrap();
    driver.delete_network("looks").await.unwrap();
    assert_eq!(std::fs::read(seed.join("meta.db")).unwrap(), b"db");
    bench.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_reach_each_other_and_the_host() {
    let Some(given) = given() else { return };
    let bench = Bench::new();
    let driver = driver(bench.base.path(), &given);
    let first = one(&driver, |address| spec("reach", "reach", address, &given.1), "reach").await;
    let subnet = driver.propose_subnet("reach").await.unwrap();
    let other = subnet.hosts().nth(10).unwrap();
    let second = driver.create(&spec("reach", "reach-m02", other, &given.1)).await.unwrap();
    second.power_on().await.unwrap();
    let listener = tokio::net::TcpListener::bind((subnet.hosts().next().unwrap(), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = async {
        for _ in 0..2 {
            let (mut stream, from) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, from.ip().to_string().as_bytes()).await.unwrap();
        }
    };
    let gateway = subnet.hosts().next().unwrap();
    let script = format!("exec 3<>/dev/tcp/{gateway}/{port}; cat <&3");
    let ask = |machine: Box<dyn Machine>| {
        let script = script.clone();
        async move { String::from_utf8(machine.exec(Exec::new(["bash", "-c", &script])).await.unwrap().stdout).unwrap() }
    };
    let ((), a, b) = tokio::join!(serve, ask(first), ask(second));
    assert_eq!((a, b), (subnet.hosts().nth(9).unwrap().to_string(), other.to_string()));
    for name in ["reach", "reach-m02"] {
        driver.delete("reach", name).await.unwrap();
    }
    driver.delete_network("reach").await.unwrap();
    bench.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn comes_back_after_a_reboot() {
    let Some(given) = given() else { return };
    let bench = Bench::new();
    let first = driver(bench.base.path(), &given);
    let machine = one(&first, |address| spec("reboot", "reboot", address, &given.1), "reboot").await;
    let address = machine.info().await.unwrap().address;
    // What a reboot does: everything but the directory is gone, without anybody being asked.
    let state = std::fs::read_dir(bench.base.path().join("run"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path().join("runc/reboot/state.json"));
    let state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(state.filter(|path| path.exists()).next().unwrap()).unwrap()).unwrap();
    let pid = nix::unistd::Pid::from_raw(state["init_process_pid"].as_i64().unwrap() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
    while machine.info().await.unwrap().power == Power::Running {
        tokio::task::yield_now().await;
    }
    std::fs::remove_dir_all(bench.base.path().join("run")).unwrap();
    let subnet = first.propose_subnet("reboot").await.unwrap();
    first.ensure_network(&NetworkSpec { cluster: "reboot".into(), subnet }).await.unwrap();
    machine.power_on().await.unwrap();
    assert_eq!(machine.info().await.unwrap().address, address);
    assert_eq!(output(&*machine, "cat /proc/1/comm").await, "sh");
    first.delete("reboot", "reboot").await.unwrap();
    // The mark that forwarding was off went with the run directory, as the setting would have with the host.
    first.delete_network("reboot").await.unwrap();
    std::fs::write("/proc/sys/net/ipv4/ip_forward", &bench.before.ip_forward).unwrap();
    bench.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_to_start_leaves_nothing_and_says_why() {
    let Some(given) = given() else { return };
    let bench = Bench::new();
    let driver = driver(bench.base.path(), &given);
    let subnet = driver.propose_subnet("fails").await.unwrap();
    driver.ensure_network(&NetworkSpec { cluster: "fails".into(), subnet }).await.unwrap();
    let address = subnet.hosts().nth(9).unwrap();
    let wrong = MachineSpec { init: vec!["/no/such/init".into()], ..spec("fails", "fails", address, &given.1) };
    let machine = driver.create(&wrong).await.unwrap();
    let error = machine.power_on().await.unwrap_err();
    assert!(error.message.contains("/no/such/init"), "{error}");
    assert_eq!(machine.info().await.unwrap().power, Power::Stopped);
    // Mended by a changed specification.
    let machine = driver.create(&spec("fails", "fails", address, &given.1)).await.unwrap();
    machine.power_on().await.unwrap();
    driver.delete("fails", "fails").await.unwrap();
    // An address that is not on the network.
    let elsewhere = driver.create(&spec("fails", "fails", Ipv4Addr::new(192, 0, 2, 77), &given.1)).await.unwrap();
    assert_eq!(elsewhere.power_on().await.unwrap_err().kind, kcl_driver_api::ErrorKind::Conflict);
    driver.delete("fails", "fails").await.unwrap();
    driver.delete_network("fails").await.unwrap();
    // No network at all.
    let machine = driver.create(&spec("fails", "fails", address, &given.1)).await.unwrap();
    assert_eq!(machine.power_on().await.unwrap_err().kind, kcl_driver_api::ErrorKind::State);
    driver.delete("fails", "fails").await.unwrap();
    driver.delete_network("fails").await.unwrap();
    bench.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_without_runc_and_without_its_state() {
    let Some(given) = given() else { return };
    let bench = Bench::new();
    let whole = driver(bench.base.path(), &given);
    let machine = one(&whole, |address| spec("blind", "blind", address, &given.1), "blind").await;
    for entry in std::fs::read_dir(bench.base.path().join("run")).unwrap().flatten() {
        let _ = std::fs::remove_dir_all(entry.path().join("runc"));
    }
    std::fs::remove_file(bench.base.path().join("home/clusters/blind/nodes/blind/machine.json")).unwrap();
    assert_eq!(machine.info().await.unwrap().power, Power::Broken);
    let blind = NativeDriver::new(NativeConfig {
        home: bench.base.path().join("home"),
        run: bench.base.path().join("run"),
        runc: None,
        rootfs: Some(given.1.clone()),
    });
    assert_eq!(blind.list(None).await.unwrap()[0].power, Power::Broken);
    blind.delete("blind", "blind").await.unwrap();
    blind.delete_network("blind").await.unwrap();
    bench.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_finds_a_colliding_subnet_and_changes_nothing() {
    let Some(given) = given() else { return };
    let bench = Bench::new();
    let driver = driver(bench.base.path(), &given);
    let request = PreflightRequest {
        cluster: "pre".into(),
        machines: 1,
        subnet: Some("127.0.0.0/24".parse().unwrap()),
        cpus: None,
        memory: None,
    };
    let findings = driver.preflight(&request).await.unwrap();
    let collision = findings.iter().find(|finding| finding.id == "subnet-collision").expect("a finding");
    assert!(collision.message.contains("interface lo"), "{}", collision.message);
    for id in ["root", "overlayfs", "bridge", "nf-tables", "cgroup-controllers"] {
        assert!(findings.iter().all(|finding| finding.id != id), "{findings:#?}");
    }
    bench.end();
}

/// kcl is killed at some moment while it makes machines; deleting afterwards leaves nothing, whatever the moment.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment() {
    let Some(given) = given() else { return };
    for milliseconds in [5, 20, 40, 60, 80, 100, 130, 170, 220, 300] {
        let bench = Bench::new();
        let mut victim = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "the_victim"])
            .env(VICTIM, bench.base.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Not waiting for anything: some moment is what is wanted.
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        victim.kill().unwrap();
        victim.wait().unwrap();
        let driver = driver(bench.base.path(), &given);
        for machine in driver.list(Some("victim")).await.unwrap() {
            driver.delete("victim", &machine.name).await.unwrap();
        }
        driver.delete_network("victim").await.unwrap();
        bench.end();
    }
}

/// Not a test: what [`killed_at_any_moment`] kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "only as a child of killed_at_any_moment"]
async fn the_victim() {
    let (Some(base), Some(given)) = (std::env::var_os(VICTIM), given()) else { return };
    let driver = driver(Path::new(&base), &given);
    let subnet = driver.propose_subnet("victim").await.unwrap();
    driver.ensure_network(&NetworkSpec { cluster: "victim".into(), subnet }).await.unwrap();
    let make = async |index: usize| {
        let spec = spec("victim", &format!("victim-m{index:02}"), subnet.hosts().nth(9 + index).unwrap(), &given.1);
        driver.create(&spec).await.unwrap().power_on().await.unwrap();
    };
    tokio::join!(make(0), make(1), make(2));
}
