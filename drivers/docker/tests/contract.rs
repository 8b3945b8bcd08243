//! Tests the driver contract with a real daemon, and what only this driver promises.
//!
//! Needs root, `dockerd` and `KCL_TEST_ROOTFS` (an unpacked root file system with `sh`).

#[path = "../../../tests/support/dockerd.rs"]
#[allow(dead_code)]
mod dockerd;
#[path = "../../../tests/support/own_network.rs"]
mod own_network;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use dockerd::Dockerd;
use kcl_driver_api::contract::{self, Fixture, VOLUME, one, output, spec};
use kcl_driver_api::{
    Driver, ErrorKind, File, MachineSpec, NetworkSpec, Power, PreflightRequest, Reach, Tree, TreeUse,
};
use kcl_driver_docker::{DockerConfig, DockerDriver};
use nix::sched::{CloneFlags, setns};
use own_network::own_network;

/// The directories and files of a test.
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

/// Runs a test with a daemon of its own, of which nothing is left afterwards. Skips the test if the host lacks what it
/// needs.
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

async fn end(driver: &dyn Driver, cluster: &str) {
    for machine in driver.list(Some(cluster)).await.unwrap() {
        driver.delete(cluster, &machine.name).await.unwrap();
    }
    driver.delete_network(cluster).await.unwrap();
}

#[test]
fn keeps_the_contract_and_leaves_nothing() {
    run(async |bench| {
        contract::all(&bench.driver(), &Fixture::new("kd-contract", &bench.rootfs)).await;
    });
}

#[test]
fn a_machine_looks_like_a_computer() {
    run(async |bench| {
        let driver = bench.driver();
        let seed = bench.dir.join("seed");
        std::fs::create_dir_all(&seed).unwrap();
        std::fs::write(seed.join("blob"), "blob").unwrap();
        // These an image cannot hold.
        nix::sys::stat::mknod(&seed.join("gone"), nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::empty(), 0)
            .unwrap();
        let tree = |target: &str, usage| Tree { source: seed.clone(), target: target.into(), usage };
        let trees = vec![
            tree("/opt/shared", TreeUse::ReadOnly),
            tree(&format!("{VOLUME}/seed"), TreeUse::Seed { copied: Vec::new() }),
        ];
        let make = |address| MachineSpec {
            trees,
            cpus: Some(1),
            memory: Some(256 << 20),
            ..spec("kd-looks", "kd-looks", address, &bench.rootfs)
        };
        let machine = one(&driver, "kd-looks", make).await;
        let m = &*machine;
        assert_eq!(output(m, "hostname").await, "kd-looks");
        assert!(output(m, "ip -4 -o addr show eth0").await.contains("10.89."));
        assert!(output(m, "ip route show default").await.starts_with("default via 10.89."));
        assert_eq!(output(m, "cat /opt/shared/blob").await, "blob");
        assert_eq!(
            output(m, &format!("cat {VOLUME}/seed/blob; stat -c %t:%T:%F {VOLUME}/seed/gone")).await,
            "blob0:0:character special file"
        );
        let mounts = output(m, "cat /proc/mounts").await;
        for (target, kind) in [("/run", "tmpfs"), ("/tmp", "tmpfs"), ("/", "overlay")] {
            let found = mounts.lines().any(|line| {
                let mut fields = line.split(' ').skip(1);
                fields.next() == Some(target) && fields.next() == Some(kind)
            });
            assert!(found, "{target}: {mounts}");
        }
        let volume = mounts.lines().find(|line| line.split(' ').nth(1) == Some(VOLUME)).expect("a volume");
        assert!(!volume.contains("overlay"), "{volume}");
        // A node does this: mounts, devices, kernel parameters of its own network.
        output(m, "mount -t tmpfs none /mnt && mknod /dev/kmsg-test c 1 11 && dd if=/dev/kmsg-test of=/dev/null bs=8192 count=1 2>/dev/null")
            .await;
        output(m, "echo 1 >/proc/sys/net/ipv4/ip_forward").await;
        output(m, "mkdir -p /data/kept/u /data/kept/w && mount -t overlay -o lowerdir=/etc,upperdir=/data/kept/u,workdir=/data/kept/w none /mnt").await;
        let limits = bench.daemon.docker(["ps", "-q"]);
        let limits =
            bench.daemon.docker(["inspect", "--format", "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}}", &limits]);
        assert_eq!(limits, format!("{} {}", 1_000_000_000, 256 << 20));

        // Limits and trees change with the specification, over a power cycle; what the machine wrote stays.
        machine.power_off(std::time::Duration::ZERO).await.unwrap();
        let newer = bench.dir.join("newer");
        std::fs::create_dir_all(&newer).unwrap();
        std::fs::write(newer.join("blob"), "newer").unwrap();
        let address = machine.info().await.unwrap().address.unwrap();
        let changed = MachineSpec {
            trees: vec![Tree { source: newer, target: "/opt/shared".into(), usage: TreeUse::ReadOnly }],
            memory: Some(512 << 20),
            ..spec("kd-looks", "kd-looks", address, &bench.rootfs)
        };
        for _ in 0..2 {
            driver.create(&changed).await.unwrap();
        }
        machine.power_on().await.unwrap();
        assert_eq!(output(m, "cat /opt/shared/blob").await, "newer");
        let ports = MachineSpec { ports: vec![port(Ipv4Addr::LOCALHOST, 39_123)], ..changed };
        machine.power_off(std::time::Duration::ZERO).await.unwrap();
        assert_eq!(driver.create(&ports).await.err().unwrap().kind, ErrorKind::State);
        end(&driver, "kd-looks").await;
    });
}

fn port(address: Ipv4Addr, port: u16) -> kcl_driver_api::PublishedPort {
    let protocol = kcl_driver_api::Protocol::Tcp;
    kcl_driver_api::PublishedPort { address: address.into(), port, machine_port: 80, protocol }
}

#[test]
fn homes_and_networks_do_not_collide() {
    run(async |bench| {
        let (mine, other) = (bench.driver(), bench.driver_of("other-home"));
        assert_eq!(mine.capabilities("kcl", "kcl").await.unwrap().reach, Reach::Address);
        let of = |address| spec("kcl", "kcl", address, &bench.rootfs);
        let ours = one(&mine, "kcl", of).await;
        assert_eq!(other.list(None).await.unwrap(), []);
        let theirs = one(&other, "kcl", of).await;
        // As a kubelet does; it is the host's.
        let panic = || std::fs::read_to_string("/proc/sys/kernel/panic").expect("a parameter");
        let before = panic();
        output(&*theirs, "echo 10 >/proc/sys/kernel/panic").await;
        let address = |info: kcl_driver_api::MachineInfo| info.address.unwrap();
        let (ours, theirs) = (ours.info().await.unwrap(), theirs.info().await.unwrap());
        assert_ne!(address(ours.clone()), address(theirs.clone()));
        let subnet = other.propose_subnet("kcl").await.unwrap();
        let collision = mine.ensure_network(&NetworkSpec::new("kcl2", subnet)).await.unwrap_err();
        assert_eq!(collision.kind, ErrorKind::SubnetTaken, "{collision}");
        let request = PreflightRequest { cluster: "kcl2".into(), subnet: Some(subnet), ..PreflightRequest::default() };
        let findings = mine.preflight(&request).await.unwrap();
        assert!(findings.iter().any(|finding| finding.id == "subnet-collision"), "{findings:#?}");
        end(&other, "kcl").await;
        assert_eq!(mine.list(None).await.unwrap(), [ours]);
        assert_eq!(panic(), "10\n", "the last cluster is still there");
        end(&mine, "kcl").await;
        assert_eq!(panic(), before);
    });
}

#[test]
fn half_made_machines_are_listed_and_deleted() {
    run(async |bench| {
        let driver = bench.driver();
        let machine = one(&driver, "kd-half", |address| spec("kd-half", "kd-half", address, &bench.rootfs)).await;
        let container = bench.daemon.docker(["ps", "--format", "{{.Names}}"]);
        bench.daemon.docker(["rename", &container, &format!("{container}.half-made")]);
        assert_eq!(machine.info().await.unwrap().power, Power::Broken);
        assert_eq!(machine.power_on().await.unwrap_err().kind, ErrorKind::State);
        bench.daemon.docker(["rm", "-f", &format!("{container}.half-made")]);
        let left = driver.list(Some("kd-half")).await.unwrap();
        assert_eq!((left.len(), left[0].power), (1, Power::Broken), "its volumes are there");
        end(&driver, "kd-half").await;
        // An image whose trees are gone from the cache goes with the next cluster that is deleted.
        let tree = bench.dir.join("cache/tree");
        std::fs::create_dir_all(&tree).unwrap();
        let trees = vec![Tree { source: tree.clone(), target: "/opt/x".into(), usage: TreeUse::ReadOnly }];
        let make = |address| MachineSpec { trees, ..spec("kd-half", "kd-half", address, &bench.rootfs) };
        one(&driver, "kd-half", make).await;
        let images = || bench.daemon.docker(["image", "ls", "-q", "kcl.local/node"]).lines().count();
        assert_eq!(images(), 2);
        std::fs::remove_dir(&tree).unwrap();
        end(&driver, "kd-half").await;
        assert_eq!(images(), 1);
    });
}

#[test]
fn machines_outlive_their_daemon() {
    run(async |bench| {
        let driver = bench.driver();
        let machine = one(&driver, "kd-again", |address| spec("kd-again", "kd-again", address, &bench.rootfs)).await;
        let before = machine.info().await.unwrap();
        machine.put(&[File { path: "/root/kept".into(), mode: 0o600, content: b"kept".to_vec() }]).await.unwrap();
        bench.daemon.restart();
        assert_eq!(machine.info().await.unwrap(), before);
        assert!(output(&*machine, "ip -4 -o addr show eth0").await.contains(&before.address.unwrap().to_string()));
        assert_eq!(machine.get(Path::new("/root/kept")).await.unwrap(), b"kept");
        machine.power_off(std::time::Duration::ZERO).await.unwrap();
        bench.daemon.restart();
        assert_eq!(machine.info().await.unwrap().power, Power::Stopped);
        end(&driver, "kd-again").await;
    });
}

#[test]
fn a_bridge_of_another_driver_is_joined_and_left() {
    run(async |bench| {
        let driver = bench.driver();
        let ip = |line: &str| {
            let output = std::process::Command::new("ip").args(line.split(' ')).output().unwrap();
            assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        ip("link add kcl-other type bridge");
        ip("addr add 10.89.77.1/24 dev kcl-other");
        ip("link set kcl-other mtu 1400 up");
        let bridge = Some("kcl-other".to_owned());
        let wanted = NetworkSpec { bridge, ..NetworkSpec::new("kd-bridge", "10.89.77.0/24".parse().unwrap()) };
        let network = driver.ensure_network(&wanted).await.unwrap();
        assert_eq!((network.bridge.as_deref(), network.link.mtu), (Some("kcl-other"), 1400));
        assert_eq!(driver.ensure_network(&wanted).await.unwrap(), network);
        let address = [10, 89, 77, 9].into();
        let published = MachineSpec {
            ports: vec![port(Ipv4Addr::LOCALHOST, 39_124)],
            ..spec("kd-bridge", "kd-bridge", address, &bench.rootfs)
        };
        driver.create(&published).await.unwrap().power_on().await.unwrap();
        assert!(ip("link show master kcl-other").contains("veth"));
        assert!(std::net::TcpStream::connect("127.0.0.1:39124").is_ok(), "a published port");
        end(&driver, "kd-bridge").await;
        assert!(ip("addr show kcl-other").contains("10.89.77.1/24"), "it is left as it was");
        ip("link delete kcl-other");
    });
}

#[tokio::test]
async fn a_missing_engine_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let driver = || {
        let host = Some(format!("unix://{}", socket.display()));
        DockerDriver::new(DockerConfig { home: dir.path().into(), host })
    };
    let health = driver().health().await.unwrap();
    assert!(!health.works() && health.engine.is_none());
    assert!(health.findings[0].message.contains("is not running") && health.findings[0].fix.is_some(), "{health:?}");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let findings = driver().preflight(&PreflightRequest::default()).await.unwrap();
    assert!(findings[0].message.contains("nothing answers"), "{findings:?}");
    let error = driver().list(None).await.unwrap_err();
    assert!(error.kind == ErrorKind::Unreachable && error.hint.is_some(), "{error}");
}
