//! Tests the driver contract with a real libvirt, and what only this driver promises.
//!
//! Needs root, `libvirtd`, `virtlogd`, QEMU and `KCL_TEST_ROOTFS` (an unpacked root file system with `sh`),
//! `KCL_TEST_KERNEL` (the kernel's artifact) and `KCL_TEST_AGENT` (a static `kcl-node`).

#[path = "../../../tests/support/libvirtd.rs"]
mod libvirtd;
#[path = "../../../tests/support/own_network.rs"]
mod own_network;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::try_join_all;
use kcl_driver_api::contract::{self, Fixture, VOLUME, output};
use kcl_driver_api::{
    Addresses, Driver, ErrorKind, Exec, File, MachineSpec, NetworkSpec, Power, Protocol, PublishedPort, Reach,
};
use kcl_driver_libvirt::{GuestFiles, LibvirtConfig, LibvirtDriver};
use libvirtd::Libvirtd;
use nix::sched::{CloneFlags, setns};
use own_network::own_network;

/// The directories and files of a test.
struct Bench {
    directory: PathBuf,
    rootfs: PathBuf,
    files: GuestFiles,
    daemon: Libvirtd,
}

impl Bench {
    fn driver(&self) -> LibvirtDriver {
        self.driver_of("home")
    }

    fn driver_of(&self, home: &str) -> LibvirtDriver {
        let config = LibvirtConfig {
            uri: Some(self.daemon.uri()),
            home: self.directory.join(home),
            run: self.directory.join("run"),
            images: self.directory.join("images"),
            files: Some(self.files.clone()),
        };
        LibvirtDriver::new(config).unwrap()
    }

    /// Asserts that nothing of the test is in its directory, except cached facts and the disks that may be used again.
    fn assert_nothing_left(&self) {
        assert_eq!(self.daemon.left(), [""; 0]);
        let left: Vec<PathBuf> = ["home/clusters", "home/run"]
            .iter()
            .flat_map(|name| std::fs::read_dir(self.directory.join(name)).into_iter().flatten())
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(left, [] as [PathBuf; 0], "files are left");
    }
}

/// Returns the settings of the tests; none if they cannot run here.
fn given() -> Option<(PathBuf, GuestFiles)> {
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
    Some((rootfs, files))
}

/// Runs a test with a libvirt of its own, of which nothing is left afterwards. Skips the test if the host lacks what it
/// needs.
fn run(test: impl AsyncFnOnce(&mut Bench) + Send) {
    let Some((rootfs, files)) = given() else { return };
    assert!(nix::unistd::geteuid().is_root(), "these tests need root");
    own_network(|| {
        let directory = tempfile::Builder::new().prefix("kv-").tempdir().unwrap();
        let of_daemon = directory.path().join("libvirt");
        std::fs::create_dir(&of_daemon).unwrap();
        let daemon = Libvirtd::start(&of_daemon);
        let mut bench = Bench { directory: directory.path().to_owned(), rootfs, files, daemon };
        let namespace = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.enable_all().on_thread_start(move || setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap());
        runtime.build().unwrap().block_on(test(&mut bench));
        bench.assert_nothing_left();
    });
}

/// The machines are small, as each has all its memory.
fn spec(cluster: &str, name: &str, address: Addresses, rootfs: &Path) -> MachineSpec {
    MachineSpec { cpus: Some(1), memory: Some(256 << 20), ..contract::spec(cluster, name, address, rootfs) }
}

#[test]
fn keeps_the_contract_and_leaves_nothing() {
    run(async |bench| {
        let rootfs = bench.rootfs.clone();
        let make = move |name: &str, address| spec("kv-contract", name, address, &rootfs);
        contract::all(&bench.driver(), &Fixture { cluster: "kv-contract".into(), spec: Box::new(make) }).await;
    });
}

#[test]
fn machines_are_reached_and_come_back_after_a_power_cut() {
    run(async |bench| {
        let driver = bench.driver();
        let cluster = "kv-reach";
        let subnet = driver.propose_subnet(cluster).await.unwrap();
        let network = driver.ensure_network(&NetworkSpec::new(cluster, subnet)).await.unwrap();
        assert_eq!(driver.capabilities(cluster, cluster).await.unwrap().reach, Reach::Address);
        let (host, gateway) = (network.host.unwrap().primary(), network.link.gateway.unwrap());
        let names = [cluster.to_owned(), format!("{cluster}-m02"), format!("{cluster}-m03")];
        let address = |index: usize| subnet.hosts().nth(9 + index).unwrap();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let published = listener.local_addr().unwrap().port();
        drop(listener);
        let port = PublishedPort {
            address: Ipv4Addr::LOCALHOST.into(),
            port: published,
            machine_port: 8080,
            protocol: Protocol::Tcp,
        };
        let specs: Vec<_> = (0..3)
            .map(|index| MachineSpec {
                ports: if index == 0 { vec![port] } else { Vec::new() },
                ..spec(cluster, &names[index], address(index), &bench.rootfs)
            })
            .collect();
        let machines = try_join_all(specs.iter().map(|spec| driver.create(spec))).await.unwrap();
        // The third stays off.
        try_join_all(machines.iter().take(2).map(|machine| machine.power_on())).await.unwrap();
        // What the node agent does in a node.
        for machine in &machines[..2] {
            output(&**machine, &format!("ip route add default via {gateway}")).await;
        }

        // Machines reach each other and the host, the host reaches machines, and published ports answer.
        let serve = |machine: usize| {
            machines[machine].exec(Exec::new(["socat", "TCP-LISTEN:8080,reuseaddr", "SYSTEM:hostname"]))
        };
        let (served, answer) = tokio::join!(serve(1), async {
            let to = address(1);
            output(&*machines[0], &format!("until socat -u TCP:{to}:8080 - 2>/dev/null; do :; done")).await
        });
        assert_eq!((served.unwrap().code, &answer), (0, &names[1]));
        let listener = tokio::net::TcpListener::bind((host, 0)).await.unwrap();
        let script = format!("exec 3<>/dev/tcp/{host}/{}; cat <&3", listener.local_addr().unwrap().port());
        // The connection is closed when its other end is known.
        let (from, said) = tokio::join!(
            async { listener.accept().await.unwrap().1.ip() },
            machines[1].exec(Exec::new(["bash", "-c", &script]))
        );
        assert_eq!((from, said.unwrap().code), (address(1).primary(), 0));
        for at in [(address(0).primary(), 8080), (Ipv4Addr::LOCALHOST.into(), published)] {
            let (served, answer) = tokio::join!(serve(0), ask(at));
            assert_eq!((served.unwrap().code, answer.trim()), (0, names[0].as_str()), "{at:?}");
        }

        // The next boot does not get the files of this one again.
        let kept = File { path: format!("{VOLUME}/kept").into(), mode: 0o600, content: b"old".to_vec() };
        machines[1].power_off(Duration::from_secs(60)).await.unwrap();
        machines[1].put(std::slice::from_ref(&kept)).await.unwrap();
        machines[1].power_on().await.unwrap();
        machines[1].put(&[File { content: b"new".to_vec(), ..kept.clone() }]).await.unwrap();
        output(&*machines[1], "sync").await;

        bench.daemon.power_cut();
        let driver = bench.driver();
        let infos = driver.list(Some(cluster)).await.unwrap();
        let powers: Vec<_> = infos.iter().map(|info| info.power).collect();
        assert_eq!(powers, [Power::Running, Power::Running, Power::Stopped], "by libvirt itself");
        let machine = driver.machine(cluster, &names[1]).await.unwrap();
        machine.power_on().await.unwrap();
        assert_eq!(machine.get(&kept.path).await.unwrap(), b"new");
        assert_eq!(machine.info().await.unwrap().address, Some(address(1)));
        for name in &names {
            driver.delete(cluster, name).await.unwrap();
        }
        driver.delete_network(cluster).await.unwrap();
    });
}

/// Returns what a machine sends on connection; it may not listen yet.
async fn ask(at: (IpAddr, u16)) -> String {
    loop {
        let mut answer = String::new();
        if let Ok(mut stream) = tokio::net::TcpStream::connect(at).await {
            let _ = tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await;
        }
        if !answer.is_empty() {
            return answer;
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn failures_leave_nothing_and_homes_do_not_collide() {
    run(async |bench| {
        let (driver, other) = (bench.driver(), bench.driver_of("other"));
        let cluster = "kv-fails";
        let subnet = driver.propose_subnet(cluster).await.unwrap();
        driver.ensure_network(&NetworkSpec::new(cluster, subnet)).await.unwrap();
        let good = spec(cluster, cluster, subnet.hosts().nth(9).unwrap(), &bench.rootfs);
        let init = MachineSpec { init: vec!["/no/such/program".into()], ..good.clone() };
        let machine = driver.create(&init).await.unwrap();
        let error = machine.power_on().await.unwrap_err();
        assert!(error.message.contains("/no/such/program: No such file"), "{error}");
        assert_eq!(machine.info().await.unwrap().power, Power::Stopped);
        // An address of another network.
        let far = MachineSpec { address: [192, 0, 2, 9].into(), ..good.clone() };
        assert_eq!(driver.create(&far).await.err().unwrap().kind, ErrorKind::Conflict);
        // Another home has a network and machines of its own, of the same names.
        assert_eq!(other.list(None).await.unwrap(), []);
        let elsewhere = other.propose_subnet(cluster).await.unwrap();
        assert_ne!(elsewhere, subnet);
        other.ensure_network(&NetworkSpec::new(cluster, elsewhere)).await.unwrap();
        // The subnet changes: the network is recreated.
        let moved = "10.89.77.0/24".parse().unwrap();
        let network = other.ensure_network(&NetworkSpec::new(cluster, moved)).await.unwrap();
        assert_eq!(network.host, Some([10, 89, 77, 1].into()));
        other.delete_network(cluster).await.unwrap();
        assert_eq!(driver.list(None).await.unwrap().len(), 1);
        // Half made, as after a kill: the domain without its files, and the files without their domain.
        let directory = bench.directory.join("home/clusters").join(cluster).join("domains").join(cluster);
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(machine.info().await.unwrap().power, Power::Broken);
        driver.delete(cluster, cluster).await.unwrap();
        assert_eq!(driver.list(Some(cluster)).await.unwrap(), []);
        std::fs::create_dir_all(&directory).unwrap();
        assert_eq!(machine.info().await.unwrap().power, Power::Broken);
        driver.delete(cluster, cluster).await.unwrap();
        driver.delete_network(cluster).await.unwrap();
    });
}

/// Tests a user's own libvirt: no root, no bridge. The test runs itself again as that user, with its files in
/// directories that the user can reach.
#[test]
fn a_session_needs_no_root() {
    const INSIDE: &str = "KCL_TEST_SESSION";
    if let Some(directory) = std::env::var_os(INSIDE) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(in_a_session(Path::new(&directory)));
    }
    let Some((rootfs, files)) = given() else { return };
    own_network(|| {
        let directory = tempfile::Builder::new().prefix("kv-").tempdir().unwrap();
        let base = directory.path();
        for name in ["home", "run", "rootfs/bin", "rootfs/etc", "kernel"] {
            std::fs::create_dir_all(base.join(name)).unwrap();
        }
        // A small root file system: not all of the other may be read by all.
        std::fs::copy(rootfs.join("bin/busybox"), base.join("rootfs/bin/busybox")).unwrap();
        for name in ["sh", "cat", "sleep", "hostname"] {
            std::os::unix::fs::symlink("busybox", base.join("rootfs/bin").join(name)).unwrap();
        }
        std::fs::copy(&files.agent, base.join("agent")).unwrap();
        std::fs::copy(std::env::current_exe().unwrap(), base.join("test")).unwrap();
        // The shell stays the first process: it reaps processes whose parents are gone.
        let script = r#"set -e
            chown -R nobody "$0"
            mount --bind "$1" "$0/kernel"
            cd "$0"
            setpriv --reuid nobody --regid nogroup --clear-groups \
                "$0/test" --exact --nocapture a_session_needs_no_root &
            wait $!"#;
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "sh", "-c", script]);
        command.arg(base).arg(files.kernel.parent().unwrap());
        command.env(INSIDE, base).env("HOME", base.join("home")).env("XDG_RUNTIME_DIR", base.join("run"));
        for name in ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"] {
            command.env_remove(name);
        }
        assert!(command.status().unwrap().success(), "the test of the session failed");
    });
}

async fn in_a_session(base: &Path) {
    let config = LibvirtConfig {
        uri: None,
        home: base.join("home/.kcl"),
        run: base.join("run/kcl"),
        images: base.join("images"),
        files: Some(GuestFiles {
            kernel: base.join("kernel/vmlinuz"),
            modules: base.join("kernel/modules"),
            agent: base.join("agent"),
        }),
    };
    // libvirt starts the daemon by itself.
    let driver = LibvirtDriver::new(config).unwrap();
    let health = driver.health().await.unwrap();
    assert!(health.works(), "{health:#?}");
    assert!(health.engine.unwrap().contains("qemu:///session"));
    let cluster = "kv-session";
    let subnet = driver.propose_subnet(cluster).await.unwrap();
    let network = driver.ensure_network(&NetworkSpec::new(cluster, subnet)).await.unwrap();
    assert_eq!((network.bridge, network.link.gateway), (None, None));
    assert!(matches!(driver.capabilities(cluster, cluster).await.unwrap().reach, Reach::Published { .. }));
    let spec = spec(cluster, cluster, subnet.hosts().nth(9).unwrap(), &base.join("rootfs"));
    let machine = driver.create(&spec).await.unwrap();
    machine.power_on().await.unwrap();
    assert_eq!(output(&*machine, "hostname").await, cluster);
    let file = File { path: format!("{VOLUME}/file").into(), mode: 0o600, content: b"kept".to_vec() };
    machine.put(std::slice::from_ref(&file)).await.unwrap();
    machine.power_off(Duration::from_secs(60)).await.unwrap();
    assert_eq!(driver.list(None).await.unwrap()[0].power, Power::Stopped);
    assert_eq!(machine.get(&file.path).await.unwrap(), b"kept");
    driver.delete(cluster, cluster).await.unwrap();
    driver.delete_network(cluster).await.unwrap();
    assert_eq!(driver.list(None).await.unwrap(), []);
}
