//! Tests the driver contract with real machines, and what only this driver promises.
//!
//! Needs `qemu-system-x86_64`, `mke2fs` and `KCL_TEST_ROOTFS` (an unpacked root file system with `sh`), `KCL_TEST_KERNEL`
//! (the kernel's artifact) and `KCL_TEST_AGENT` (a static `kcl-node`). Root is not needed.

#[path = "../../../tests/support/user.rs"]
mod user;

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use kcl_driver_api::contract::{self, Fixture, VOLUME, output};
use kcl_driver_api::{
    Addresses, Driver, ErrorKind, Exec, File, Machine, MachineSpec, NetworkSpec, Power, Protocol, PublishedPort, Tree,
    TreeUse,
};
use kcl_driver_qemu::{GuestFiles, QemuConfig, QemuDriver};

/// The directories and files of a test.
struct Bench {
    directory: tempfile::TempDir,
    rootfs: PathBuf,
    files: GuestFiles,
}

impl Bench {
    /// Returns none if the test cannot run here.
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

    /// Asserts that nothing of the test runs or is in its directory, except cached facts and the disks that may be used
    /// again.
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
    /// Deletes the machines of a test that failed half-way.
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

/// The machines are small, as each has all its memory.
fn spec(cluster: &str, name: &str, address: Addresses, rootfs: &Path) -> MachineSpec {
    MachineSpec { cpus: Some(1), memory: Some(256 << 20), ..contract::spec(cluster, name, address, rootfs) }
}

/// Makes one machine on a network, powered on.
async fn one(driver: &dyn Driver, cluster: &str, spec: impl FnOnce(Addresses) -> MachineSpec) -> Box<dyn Machine> {
    let subnet = driver.propose_subnet(cluster).await.unwrap();
    let network = driver.ensure_network(&NetworkSpec::new(cluster, subnet)).await.unwrap();
    let machine = driver.create(&spec(network.subnet.hosts().nth(9).unwrap())).await.unwrap();
    let begun = Instant::now();
    machine.power_on().await.unwrap();
    println!("{} booted after {} ms", machine.name(), begun.elapsed().as_millis());
    machine
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

/// Runs a part of the contract for another test, as any user.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "only as a child"]
async fn as_anyone() {
    let Some(bench) = Bench::new() else { return };
    let rootfs = bench.rootfs.clone();
    let make = move |name: &str, address| spec("kq-anyone", name, address, &rootfs);
    let fixture = Fixture { cluster: "kq-anyone".into(), spec: Box::new(make) };
    contract::commands(&bench.driver(), &fixture).await;
    contract::files(&bench.driver(), &fixture).await;
    bench.assert_nothing_left();
}

#[test]
fn as_a_user_who_is_not_root() {
    let Some(bench) = Bench::new() else { return };
    let dir = bench.base();
    let own = user::own_rootfs(dir, &bench.rootfs);
    // The cache may be closed to others.
    let kernel = dir.join("kernel");
    let copied =
        std::process::Command::new("cp").arg("-r").arg(bench.files.kernel.parent().unwrap()).arg(&kernel).status();
    assert!(copied.unwrap().success());
    let agent = dir.join("kcl-node");
    std::fs::copy(&bench.files.agent, &agent).unwrap();
    std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut child = user::as_user(dir, "as_anyone");
    child.env("KCL_TEST_ROOTFS", &own).env("KCL_TEST_KERNEL", &kernel).env("KCL_TEST_AGENT", &agent);
    let status = child.env("HOME", dir.join("user")).status().unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_looks_like_a_computer() {
    let Some(bench) = Bench::new() else { return };
    let driver = bench.driver();
    let cluster = "kq-looks";
    let seed = bench.base().join("seed");
    std::fs::create_dir_all(&seed).unwrap();
    std::fs::write(seed.join("blob"), "blob").unwrap();
    let tree = |target: &str, usage| Tree { source: seed.clone(), target: target.into(), usage };
    let copied = || TreeUse::Seed { copied: vec![".db".into()] };
    let in_volume = format!("{VOLUME}/seed");
    let trees =
        vec![tree("/opt/shared", TreeUse::ReadOnly), tree(&in_volume, copied()), tree("/opt/own/seed", copied())];
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let published = listener.local_addr().unwrap().port();
    drop(listener);
    let port = PublishedPort {
        address: Ipv4Addr::LOCALHOST.into(),
        port: published,
        machine_port: 8080,
        protocol: Protocol::Tcp,
    };
    let make = |address| MachineSpec { trees, ports: vec![port], ..spec(cluster, cluster, address, &bench.rootfs) };
    let machine = one(&driver, cluster, make).await;
    let m = &*machine;
    let address = m.info().await.unwrap().address.unwrap();

    assert_eq!(output(m, "hostname").await, cluster);
    assert!(output(m, "ip -4 -o addr show eth0").await.contains(&format!("{address}/24")));
    let memory: u64 = output(m, "sed -n 's/MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo").await.parse().unwrap();
    assert!((180 << 10..256 << 10).contains(&memory), "{memory} kB");
    assert_eq!(output(m, "nproc").await, "1");
    // The one hierarchy of control groups, with all that the kubelet wants.
    let controllers = output(m, "cat /sys/fs/cgroup/cgroup.controllers").await;
    for controller in ["cpuset", "cpu", "io", "memory", "pids"] {
        assert!(controllers.contains(controller), "{controllers}");
    }
    // Trees: read-only ones are, seeds are the machine's own.
    output(m, "! touch /opt/shared/x && touch /opt/own/seed/x && cat /opt/shared/blob /opt/own/seed/blob").await;
    output(m, &format!("echo changed > {in_volume}/blob")).await;
    assert_eq!(std::fs::read(seed.join("blob")).unwrap(), b"blob");
    // Modules come by themselves.
    output(m, "ip link add v0 type veth peer name v1 && ip link del v0 && test -d /sys/module/veth").await;

    // The host reaches a published port, and the machine reaches the host.
    let subnet = driver.propose_subnet(cluster).await.unwrap();
    let host = driver.ensure_network(&NetworkSpec::new(cluster, subnet)).await.unwrap().host.unwrap();
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hello = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"hello").await.unwrap();
    };
    let script = format!("exec 3<>/dev/tcp/{host}/{port}; cat <&3");
    let ((), said) = tokio::join!(hello, m.exec(Exec::new(["bash", "-c", &script])));
    assert_eq!(said.unwrap().stdout, b"hello");
    let serve = m.exec(Exec::new(["socat", "TCP-LISTEN:8080,reuseaddr", "SYSTEM:echo from the machine"]));
    let ask = async {
        loop {
            let mut answer = String::new();
            if let Ok(mut stream) = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, published)).await {
                let _ = tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await;
            }
            // QEMU listens for the machine, which may not listen yet.
            if !answer.is_empty() {
                return answer;
            }
        }
    };
    let (served, answer) = tokio::join!(serve, ask);
    assert_eq!((served.unwrap().code, answer.as_str()), (0, "from the machine\n"));

    // A command ends with its caller.
    let sleeping = m.exec(Exec::new(["sleep", "987654"]));
    let _ = tokio::time::timeout(Duration::from_secs(1), sleeping).await;
    while !output(m, "pgrep -fx 'sleep 987654' || true").await.is_empty() {}

    // Files of a stopped machine: through links, deleted ones, of the root file system, of a tree.
    output(m, "ln -s /opt/own/seed /root/link && rm /etc/debian_version && sync").await;
    m.power_off(Duration::from_secs(60)).await.unwrap();
    assert_eq!(m.get(Path::new("/root/link/blob")).await.unwrap(), b"blob");
    assert_eq!(m.get(Path::new(&format!("{in_volume}/blob"))).await.unwrap(), b"changed\n");
    assert_eq!(m.get(Path::new("/opt/shared/blob")).await.unwrap(), b"blob");
    assert!(m.get(Path::new("/lib/os-release")).await.unwrap().starts_with(b"PRETTY_NAME"));
    assert_eq!(m.get(Path::new("/etc/debian_version")).await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(m.get(Path::new("/etc")).await.unwrap_err().kind, ErrorKind::State);

    driver.delete(cluster, cluster).await.unwrap();
    driver.delete_network(cluster).await.unwrap();
    bench.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_reach_each_other_and_outlive_members() {
    let Some(bench) = Bench::new() else { return };
    let driver = bench.driver();
    let cluster = "kq-reach";
    let subnet = driver.propose_subnet(cluster).await.unwrap();
    driver.ensure_network(&NetworkSpec::new(cluster, subnet)).await.unwrap();
    let names = [cluster.to_owned(), format!("{cluster}-m02"), format!("{cluster}-m03")];
    let address = |index: usize| subnet.hosts().nth(9 + index).unwrap();
    let specs: Vec<_> =
        names.iter().enumerate().map(|(index, name)| spec(cluster, name, address(index), &bench.rootfs)).collect();
    let machines = try_join_all(specs.iter().map(|spec| driver.create(spec))).await.unwrap();
    try_join_all(machines.iter().map(|machine| machine.power_on())).await.unwrap();
    let serve =
        |machine: usize| machines[machine].exec(Exec::new(["socat", "TCP-LISTEN:8080,reuseaddr", "SYSTEM:hostname"]));
    let ask = |machine: usize, to: usize| {
        let to = address(to);
        // The other machine may not listen yet.
        let script = format!("until socat -u TCP:{to}:8080 - 2>/dev/null; do :; done");
        let machine = &machines[machine];
        async move { output(&**machine, &script).await }
    };
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        let (served, answer) = tokio::join!(serve(to), ask(from, to));
        assert_eq!((served.unwrap().code, answer), (0, names[to].clone()));
    }
    // A machine that goes takes nothing with it.
    driver.delete(cluster, cluster).await.unwrap();
    let (served, answer) = tokio::join!(serve(2), ask(1, 2));
    assert_eq!((served.unwrap().code, answer), (0, names[2].clone()));
    for name in &names {
        driver.delete(cluster, name).await.unwrap();
    }
    driver.delete_network(cluster).await.unwrap();
    bench.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_start_leaves_nothing_and_says_why() {
    let Some(bench) = Bench::new() else { return };
    let driver = bench.driver();
    let cluster = "kq-fails";
    let subnet = driver.propose_subnet(cluster).await.unwrap();
    driver.ensure_network(&NetworkSpec::new(cluster, subnet)).await.unwrap();
    let good = spec(cluster, cluster, subnet.hosts().nth(9).unwrap(), &bench.rootfs);
    let init = MachineSpec { init: vec!["/no/such/program".into()], ..good.clone() };
    let machine = driver.create(&init).await.unwrap();
    let error = machine.power_on().await.unwrap_err();
    assert!(error.message.contains("/no/such/program: No such file"), "{error}");
    assert_eq!(machine.info().await.unwrap().power, Power::Stopped);
    // A port that is in use.
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = PublishedPort {
        address: Ipv4Addr::LOCALHOST.into(),
        port: listener.local_addr().unwrap().port(),
        machine_port: 8080,
        protocol: Protocol::Tcp,
    };
    driver.create(&MachineSpec { ports: vec![port], ..good.clone() }).await.unwrap();
    let error = machine.power_on().await.unwrap_err();
    assert!(error.message.contains("host forwarding rule"), "{error}");
    // An address of another network.
    driver.create(&MachineSpec { address: [192, 0, 2, 9].into(), ..good.clone() }).await.unwrap();
    assert_eq!(machine.power_on().await.unwrap_err().kind, ErrorKind::Conflict);
    // A disk that is no disk: the machine ends, and its log says why.
    driver.create(&good).await.unwrap();
    let disk = bench.base().join("home/clusters").join(cluster).join("vms").join(cluster).join("data.ext4");
    std::fs::File::options().write(true).open(&disk).unwrap().set_len(4 << 20).unwrap();
    let error = machine.power_on().await.unwrap_err();
    assert!(error.message.contains("mount the disk data"), "{error}");
    // Half made, as after a kill.
    std::fs::remove_file(disk.with_file_name("machine.json")).unwrap();
    assert_eq!(machine.info().await.unwrap().power, Power::Broken);
    let missing = machine.put(&[File { path: "/a".into(), mode: 0o600, content: Vec::new() }]).await.unwrap_err();
    assert_eq!(missing.kind, ErrorKind::State);
    driver.delete(cluster, cluster).await.unwrap();
    driver.delete_network(cluster).await.unwrap();
    bench.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_and_a_host_that_is_restarted() {
    let Some(bench) = Bench::new() else { return };
    let cluster = "kq-reboot";
    let machine = one(&bench.driver(), cluster, |address| spec(cluster, cluster, address, &bench.rootfs)).await;
    let kept = File { path: format!("{VOLUME}/kept").into(), mode: 0o600, content: b"kept".to_vec() };
    machine.put(std::slice::from_ref(&kept)).await.unwrap();
    let address = machine.info().await.unwrap().address;
    // What a power cut does: the process is gone without being asked, and so is what a restart of the host empties.
    let run = std::fs::read_dir(bench.base().join("run")).unwrap().flatten().map(|entry| entry.path());
    let of_cluster = run.into_iter().find(|path| path.is_dir()).unwrap();
    let of_machine = std::fs::read_dir(of_cluster).unwrap().flatten().next().unwrap().path();
    let pid: i32 = std::fs::read_to_string(of_machine.join("pid")).unwrap().trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    while machine.info().await.unwrap().power == Power::Running {
        tokio::task::yield_now().await;
    }
    assert_eq!(machine.exec(Exec::new(["true"])).await.unwrap_err().kind, ErrorKind::State);
    assert_eq!(machine.get(&kept.path).await.unwrap(), b"kept", "also out of the disk's journal");
    std::fs::remove_dir_all(bench.base().join("run")).unwrap();
    let driver = bench.driver();
    let machine = driver.machine(cluster, cluster).await.unwrap();
    machine.power_on().await.unwrap();
    assert_eq!(machine.info().await.unwrap().address, address);
    assert_eq!(machine.get(&kept.path).await.unwrap(), b"kept");
    driver.delete(cluster, cluster).await.unwrap();
    driver.delete_network(cluster).await.unwrap();
    bench.assert_nothing_left();
}
