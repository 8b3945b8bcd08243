//! The driver contract with real machines, and the promises of this driver alone: nothing is left on the host.
//!
//! Needs root, `KCL_TEST_RUNC` (a runc) and `KCL_TEST_ROOTFS` (an unpacked root file system with `sh` and `nft`).

mod bench;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures::future::try_join_all;

use kcl_driver_api::contract::{self, Fixture, VOLUME, one, output, spec};
use kcl_driver_api::{
    Driver, Exec, File, Machine, MachineSpec, NetworkSpec, Power, PreflightRequest, Stdin, Stdout, Tree, TreeUse,
};
use kcl_driver_native::{NativeConfig, NativeDriver};

/// The variable that is set in children that are not tests of their own: the directory of the test that they belong to.
const CHILD_OF: &str = "KCL_TEST_CHILD_OF";

#[test]
fn keeps_the_contract_and_leaves_nothing() {
    bench::run("kn-contract", async |bench| {
        contract::all(&bench.driver(), &Fixture::new(bench.cluster, &bench.rootfs)).await;
    });
}

#[test]
fn a_machine_looks_like_a_computer() {
    bench::run("kn-looks", async |bench| {
        let driver = bench.driver();
        let seed = bench.base.join("seed");
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
            cpu_weight: 100,
            memory: Some(256 << 20),
            ..spec("kn-looks", "kn-looks", address, &bench.rootfs)
        };
        let machine = one(&driver, "kn-looks", make).await;
        let m = &*machine;

        assert_eq!(output(m, "hostname").await, "kn-looks");
        assert!(output(m, "ip -4 -o addr show eth0").await.contains("10.89."));
        assert!(output(m, "ip link show eth0").await.contains("state UP"));
        let gateway = driver.propose_subnet("kn-looks").await.unwrap().hosts().next().unwrap();
        output(m, &format!("ip route add default via {gateway}; ip neigh; ip route get {gateway}")).await;
        // Mounts are shared within the machine, and the host has none of them.
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
        output(
            m,
            "mkdir -p /sys/fs/cgroup/memory/a/b /sys/fs/cgroup/pids/a/b 2>/dev/null || mkdir -p /sys/fs/cgroup/a/b",
        )
        .await;
        // Devices.
        output(m, "test -c /dev/null -a -c /dev/kmsg && echo x > /dev/null").await;
        assert_eq!(
            output(m, "ulimit -Hn").await,
            output(m, "sed -n 's/Max open files *[0-9]* *\\([0-9]*\\).*/\\1/p' /proc/1/limits").await
        );
        // A process in a group of its own that ignores the end is killed with the machine.
        output(m, "setsid sleep 100000 > /dev/null 2>&1 &").await;
        machine
            .put(&[File { path: "/lib/systemd/kcl-test".into(), mode: 0o644, content: b"x".to_vec() }])
            .await
            .unwrap();
        assert_eq!(output(m, "cat /usr/lib/systemd/kcl-test").await, "x");

        driver.delete("kn-looks", "kn-looks").await.unwrap();
        driver.delete_network("kn-looks").await.unwrap();
        assert_eq!(std::fs::read(seed.join("meta.db")).unwrap(), b"db");
    });
}

#[test]
fn machines_reach_each_other_and_the_host() {
    bench::run("kn-reach", async |bench| {
        let driver = bench.driver();
        let first = one(&driver, "kn-reach", |address| spec("kn-reach", "kn-reach", address, &bench.rootfs)).await;
        let subnet = driver.propose_subnet("kn-reach").await.unwrap();
        let other = subnet.hosts().nth(10).unwrap();
        let second = driver.create(&spec("kn-reach", "kn-reach-m02", other, &bench.rootfs)).await.unwrap();
        second.power_on().await.unwrap();
        let listener = tokio::net::TcpListener::bind((subnet.hosts().next().unwrap().primary(), 0)).await.unwrap();
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
        for name in ["kn-reach", "kn-reach-m02"] {
            driver.delete("kn-reach", name).await.unwrap();
        }
        driver.delete_network("kn-reach").await.unwrap();
    });
}

#[test]
fn comes_back_after_a_reboot() {
    bench::run("kn-reboot", async |bench| {
        let first = bench.driver();
        let machine = one(&first, "kn-reboot", |address| spec("kn-reboot", "kn-reboot", address, &bench.rootfs)).await;
        let address = machine.info().await.unwrap().address;
        // A reboot: everything but the directory is gone, without any call.
        let state = std::fs::read_dir(bench.base.join("run"))
            .unwrap()
            .flatten()
            .map(|entry| entry.path().join("runc/kn-reboot/state.json"));
        let state = std::fs::read(state.into_iter().find(|path| path.exists()).unwrap()).unwrap();
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
        let pid = nix::unistd::Pid::from_raw(state["init_process_pid"].as_i64().unwrap() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
        while machine.info().await.unwrap().power == Power::Running {
            tokio::task::yield_now().await;
        }
        std::fs::remove_dir_all(bench.base.join("run")).unwrap();
        let subnet = first.propose_subnet("kn-reboot").await.unwrap();
        first.ensure_network(&NetworkSpec::new("kn-reboot", subnet)).await.unwrap();
        machine.power_on().await.unwrap();
        assert_eq!(machine.info().await.unwrap().address, address);
        assert_eq!(output(&*machine, "hostname").await, "kn-reboot");
        first.delete("kn-reboot", "kn-reboot").await.unwrap();
        // The record that forwarding was off is gone with the run directory, as the setting would be with the host.
        first.delete_network("kn-reboot").await.unwrap();
        std::fs::write(bench::IP_FORWARD, &bench.ip_forward).unwrap();
    });
}

#[test]
fn what_fails_to_start_leaves_nothing_and_says_why() {
    bench::run("kn-fails", async |bench| {
        let driver = bench.driver();
        let subnet = driver.propose_subnet("kn-fails").await.unwrap();
        driver.ensure_network(&NetworkSpec::new("kn-fails", subnet)).await.unwrap();
        let address = subnet.hosts().nth(9).unwrap();
        let wrong =
            MachineSpec { init: vec!["/no/such/init".into()], ..spec("kn-fails", "kn-fails", address, &bench.rootfs) };
        let machine = driver.create(&wrong).await.unwrap();
        let error = machine.power_on().await.unwrap_err();
        assert!(error.message.contains("/no/such/init"), "{error}");
        assert_eq!(machine.info().await.unwrap().power, Power::Stopped);
        // Repaired by a changed specification.
        let machine = driver.create(&spec("kn-fails", "kn-fails", address, &bench.rootfs)).await.unwrap();
        machine.power_on().await.unwrap();
        driver.delete("kn-fails", "kn-fails").await.unwrap();
        // An address that is not on the network.
        let elsewhere =
            driver.create(&spec("kn-fails", "kn-fails", [192, 0, 2, 77].into(), &bench.rootfs)).await.unwrap();
        assert_eq!(elsewhere.power_on().await.unwrap_err().kind, kcl_driver_api::ErrorKind::Conflict);
        driver.delete("kn-fails", "kn-fails").await.unwrap();
        driver.delete_network("kn-fails").await.unwrap();
        // No network at all.
        let machine = driver.create(&spec("kn-fails", "kn-fails", address, &bench.rootfs)).await.unwrap();
        assert_eq!(machine.power_on().await.unwrap_err().kind, kcl_driver_api::ErrorKind::State);
        driver.delete("kn-fails", "kn-fails").await.unwrap();
        driver.delete_network("kn-fails").await.unwrap();
    });
}

#[test]
fn deletes_without_runc_nft_and_its_state() {
    bench::run("kn-blind", async |bench| {
        let tables = || kcl_driver_oci::nft::output(Some(&bench.rootfs), &["list", "tables"], "").unwrap();
        let before = tables();
        let whole = bench.driver();
        let machine = one(&whole, "kn-blind", |address| spec("kn-blind", "kn-blind", address, &bench.rootfs)).await;
        for entry in std::fs::read_dir(bench.base.join("run")).unwrap().flatten() {
            let _ = std::fs::remove_dir_all(entry.path().join("runc"));
        }
        std::fs::remove_file(bench.base.join("home/clusters/kn-blind/nodes/kn-blind/machine.json")).unwrap();
        assert_eq!(machine.info().await.unwrap().power, Power::Broken);
        assert_ne!(tables(), before);
        let blind = NativeDriver::new(NativeConfig { runc: None, rootfs: None, ..bench.config() });
        assert_eq!(blind.list(None).await.unwrap()[0].power, Power::Broken);
        blind.delete("kn-blind", "kn-blind").await.unwrap();
        blind.delete_network("kn-blind").await.unwrap();
        assert_eq!(tables(), before);
    });
}

#[test]
fn preflight_finds_a_colliding_subnet_and_changes_nothing() {
    bench::run("kn-pre", async |bench| {
        let driver = bench.driver();
        let subnet = driver.propose_subnet("kn-pre-other").await.unwrap();
        driver.ensure_network(&NetworkSpec::new("kn-pre-other", subnet)).await.unwrap();
        assert_ne!(driver.propose_subnet("kn-pre").await.unwrap(), subnet);
        let request = PreflightRequest {
            cluster: "kn-pre".into(),
            machines: vec!["a".to_owned(); 1],
            inotify_instances: [("a".to_owned(), 40)].into(),
            subnet: Some(subnet),
            ..Default::default()
        };
        let findings = driver.preflight(&request).await.unwrap();
        let collision = findings.iter().find(|finding| finding.id == "subnet-collision").expect("a finding");
        assert!(
            collision.message.contains("interface kcl-") && collision.message.contains("cluster kn-pre-other"),
            "{}",
            collision.message
        );
        for id in ["root", "overlayfs", "bridge", "nf-tables", "cgroup-controllers"] {
            assert!(findings.iter().all(|finding| finding.id != id), "{findings:#?}");
        }
        let spec = NetworkSpec::new("kn-pre", subnet);
        assert_eq!(driver.ensure_network(&spec).await.unwrap_err().kind, kcl_driver_api::ErrorKind::SubnetTaken);
        driver.delete_network("kn-pre-other").await.unwrap();
    });
}

/// Tests that kcl may be killed at any moment while it makes machines: a deletion afterwards leaves nothing.
#[test]
fn killed_at_any_moment() {
    for milliseconds in [5, 20, 40, 60, 80, 100, 130, 170, 220, 300] {
        bench::run("kn-victim", async |bench| {
            let mut victim = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--ignored", "the_victim"])
                .env(CHILD_OF, &bench.base)
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            // No wait for an event: any moment will do.
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            victim.kill().unwrap();
            victim.wait().unwrap();
            let driver = bench.driver();
            for machine in driver.list(Some("kn-victim")).await.unwrap() {
                driver.delete("kn-victim", &machine.name).await.unwrap();
            }
            driver.delete_network("kn-victim").await.unwrap();
        });
    }
}

/// Runs as a child, not as a test: [`killed_at_any_moment`] kills it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "only as a child of killed_at_any_moment"]
async fn the_victim() {
    let (Some(base), Some((runc, rootfs))) = (std::env::var_os(CHILD_OF), bench::given()) else { return };
    let (home, run) = (Path::new(&base).join("home"), Path::new(&base).join("run"));
    let driver = NativeDriver::new(NativeConfig { home, run, runc: Some(runc), rootfs: Some(rootfs.clone()) });
    let subnet = driver.propose_subnet("kn-victim").await.unwrap();
    driver.ensure_network(&NetworkSpec::new("kn-victim", subnet)).await.unwrap();
    let make = async |index: usize| {
        let name = format!("kn-victim-m{index:02}");
        let spec = spec("kn-victim", &name, subnet.hosts().nth(9 + index).unwrap(), &rootfs);
        driver.create(&spec).await.unwrap().power_on().await.unwrap();
    };
    tokio::join!(make(0), make(1), make(2));
}

/// Tests that a command gets a terminal of its own that is joined to kcl's.
#[test]
fn a_terminal() {
    bench::run("kn-tty", async |bench| {
        let driver = bench.driver();
        one(&driver, "kn-tty", |address| spec("kn-tty", "kn-tty", address, &bench.rootfs)).await;
        let pty = nix::pty::openpty(None, None).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut user = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "the_user", "--nocapture"])
            .env(CHILD_OF, &bench.base)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let mut shown = Vec::new();
        let mut ours = std::fs::File::from(pty.master);
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&shown).contains("code 3") {
            let read = std::io::Read::read(&mut ours, &mut buffer).unwrap();
            shown.extend_from_slice(&buffer[..read]);
        }
        user.wait().unwrap();
        let shown = String::from_utf8_lossy(&shown);
        assert!(shown.contains("on /dev/pts/0"), "{shown}");
        driver.delete("kn-tty", "kn-tty").await.unwrap();
        driver.delete_network("kn-tty").await.unwrap();
    });
}

/// Runs as a child, not as a test: the user at the terminal of [`a_terminal`].
#[tokio::test]
#[ignore = "only as a child of a_terminal"]
async fn the_user() {
    let (Some(base), Some((runc, _))) = (std::env::var_os(CHILD_OF), bench::given()) else { return };
    let (home, run) = (Path::new(&base).join("home"), Path::new(&base).join("run"));
    let driver = NativeDriver::new(NativeConfig { home, run, runc: Some(runc), rootfs: None });
    let machine = driver.machine("kn-tty", "kn-tty").await.unwrap();
    let request = Exec {
        tty: true,
        stdin: Stdin::Inherit,
        stdout: Stdout::Inherit,
        ..Exec::new(["sh", "-c", "echo on $(tty); exit 3"])
    };
    println!("code {}", machine.exec(request).await.unwrap().code);
}

/// Prints how long operations take for three machines at once; not a test.
#[test]
#[ignore = "prints durations; run by hand"]
fn durations() {
    bench::run("kn-durations", async |bench| {
        let driver = bench.driver();
        let subnet = driver.propose_subnet(bench.cluster).await.unwrap();
        let at = |index: usize| subnet.hosts().nth(9 + index).unwrap();
        let specs =
            [0, 1, 2].map(|index| spec(bench.cluster, &format!("kn-durations-{index}"), at(index), &bench.rootfs));
        for round in 0..5 {
            let mut line = format!("round {round}:");
            let mut since = Instant::now();
            let mut lap = |what: &str| {
                line += &format!(" {what} {:.1} ms,", since.elapsed().as_secs_f64() * 1000.0);
                since = Instant::now();
            };
            driver.ensure_network(&NetworkSpec::new(bench.cluster, subnet)).await.unwrap();
            lap("ensure_network");
            let machines = try_join_all(specs.iter().map(|spec| driver.create(spec))).await.unwrap();
            lap("create");
            let file = [File { path: "/etc/kcl/x".into(), mode: 0o600, content: b"x".to_vec() }];
            try_join_all(machines.iter().map(|machine| machine.put(&file))).await.unwrap();
            lap("put stopped");
            try_join_all(machines.iter().map(|machine| machine.power_on())).await.unwrap();
            lap("power_on");
            try_join_all(machines.iter().map(|machine| machine.put(&file))).await.unwrap();
            lap("put running");
            machines[0].exec(Exec::new(["true"])).await.unwrap();
            lap("one exec");
            machines[0].exec(Exec::new(["true"])).await.unwrap();
            lap("one exec");
            driver.list(None).await.unwrap();
            lap("list");
            try_join_all(machines.iter().map(|machine| machine.power_off(Duration::ZERO))).await.unwrap();
            lap("power_off");
            try_join_all(machines.iter().map(|machine| machine.power_on())).await.unwrap();
            lap("power_on");
            try_join_all(specs.iter().map(|spec| driver.delete(&spec.cluster, &spec.name))).await.unwrap();
            lap("delete");
            driver.delete_network(bench.cluster).await.unwrap();
            lap("delete_network");
            let request = PreflightRequest {
                cluster: "kn-pre".into(),
                machines: vec!["a".to_owned(); 3],
                inotify_instances: [("a".to_owned(), 40)].into(),
                ..Default::default()
            };
            driver.preflight(&request).await.unwrap();
            lap("preflight");
            println!("{line}");
        }
    });
}
