//! The ssh driver on real hosts: the contract of all drivers, and the promises about hosts. Needs root, and the
//! variables `KCL_TEST_RUNC`, `KCL_TEST_ROOTFS`, `KCL_TEST_AGENT` (the node agent) and `KCL_TEST_SSH_HOST` (a root file
//! system with sshd).

mod bench;
mod hosts;

use kcl_driver_api::contract::{self, Fixture};
use kcl_driver_api::{Driver, ErrorKind, Exec, NetworkSpec, PreflightRequest};
use kcl_driver_ssh::{SshConfig, SshDriver, Target};

use bench::Bench;
use hosts::Kind;

fn fixture(bench: &Bench) -> Fixture {
    Fixture::new(bench.cluster, &bench.rootfs)
}

#[test]
fn keeps_the_contract() {
    bench::run("ks-contract", &[Kind::Bare; 3], async |bench| {
        let driver = bench.driver();
        contract::all(&driver, &fixture(bench)).await;
    });
}

/// Makes and deletes a machine, by a driver with this configuration.
async fn one_machine(bench: &Bench, config: SshConfig) {
    let driver = SshDriver::new(config);
    let subnet = driver.propose_subnet(bench.cluster).await.unwrap();
    let network = driver.ensure_network(&NetworkSpec::new(bench.cluster, subnet)).await.unwrap();
    let address = driver.addresses().await.unwrap()[bench.cluster];
    let link = network.link(bench.cluster);
    assert_eq!((link.interface.as_str(), link.subnet, link.gateway), ("eth0", subnet, None));
    assert!(subnet.contains(address));
    let machine = driver.create(&(fixture(bench).spec)(bench.cluster, address)).await.unwrap();
    machine.power_on().await.unwrap();
    let output = machine.exec(Exec::new(["hostname"])).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), bench.cluster);
    driver.delete(bench.cluster, bench.cluster).await.unwrap();
    driver.delete_network(bench.cluster).await.unwrap();
}

/// Returns the driver's configuration with another path to the first host.
fn with_target(bench: &Bench, change: impl FnOnce(&mut Target)) -> SshConfig {
    let mut config = bench.config();
    change(config.hosts.get_mut(bench.cluster).unwrap());
    config
}

#[test]
fn a_user_with_sudo_and_a_jump_host() {
    bench::run("ks-sudo", &[Kind::Bare; 2], async |bench| {
        one_machine(bench, with_target(bench, |target| target.host.user = Some("free".to_owned()))).await;
        // Another name, key and route, from the user's configuration of ssh.
        let ssh = bench.hosts.user_home.join(".ssh");
        let [address, jump] = [0, 1].map(|index| bench.hosts.targets[index].host.address.clone());
        let lines = format!(
            "Host box\n HostName {address}\n ProxyJump hop\nHost hop\n HostName {jump}\nHost *\n User root\n IdentityFile ~/.ssh/other\n"
        );
        std::fs::copy(ssh.join("id_ed25519"), ssh.join("other")).unwrap();
        std::fs::write(ssh.join("config"), lines).unwrap();
        one_machine(bench, with_target(bench, |target| target.host = "box".parse().unwrap())).await;
        std::fs::remove_file(ssh.join("config")).unwrap();
        // Nobody can be asked for the password here.
        let locked = with_target(bench, |target| target.host.user = Some("locked".to_owned()));
        let request = PreflightRequest { machines: vec![bench.cluster.to_owned()], ..PreflightRequest::default() };
        let found = SshDriver::new(locked).preflight(&request).await.unwrap();
        assert!(found[0].message.contains("wants a password"), "{found:#?}");
        assert!(found[0].fix.as_ref().unwrap().contains("KCL_SUDO_PASSWORD"), "{found:#?}");
        // Another key path, so that there is no connection yet.
        let key = bench.hosts.user_home.join(".ssh/../.ssh/id_ed25519");
        let mut told = with_target(bench, |target| {
            target.host.user = Some("locked".to_owned());
            target.key = Some(key);
        });
        told.sudo_password = Some("secret".to_owned());
        one_machine(bench, told).await;
    });
}

#[test]
fn what_stands_in_the_way_is_told_of_all_hosts_and_nothing_is_changed() {
    bench::run("ks-pre", &[Kind::Bare; 2], async |bench| {
        let mut config = bench.config();
        let mut gone = bench.hosts.targets[1].clone();
        gone.host.port = Some(1);
        config.hosts.insert(format!("{}-m02", bench.cluster), gone);
        bench.hosts.shell(0, "/usr/sbin/sshd -p 10250 -o PidFile=/run/other.pid").await;
        let driver = SshDriver::new(config);
        let machines = vec![bench.cluster.to_owned(), format!("{}-m02", bench.cluster), "nobody".to_owned()];
        let request = PreflightRequest { cluster: bench.cluster.to_owned(), machines, ..PreflightRequest::default() };
        let found = driver.preflight(&request).await.unwrap();
        let ids: Vec<_> = found.iter().map(|finding| finding.id).collect();
        assert_eq!(ids, ["host", "port", "unreachable"], "{found:#?}");
        assert!(found[1].message.contains("port 10250") && found[1].message.contains("sshd"), "{found:#?}");
        bench.hosts.shell(0, "kill $(cat /run/other.pid)").await;
        // An unknown host, and one whose key has changed.
        let strict = SshConfig { accept_host_keys: false, ..bench.config() };
        let known = bench.hosts.user_home.join(".ssh/known_hosts");
        let text = std::fs::read_to_string(&known).unwrap();
        let other = "AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G2sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";
        let host = &bench.hosts.targets[0].host.address;
        std::fs::write(&known, format!("{host} ssh-ed25519 {other}\n")).unwrap();
        let fresh = |user: &str| {
            let mut config = strict.clone();
            config.hosts.retain(|name, _| name == bench.cluster);
            // Another key path, so that there is no connection yet.
            config.hosts.get_mut(bench.cluster).unwrap().key = Some(bench.hosts.user_home.join(user));
            SshDriver::new(config)
        };
        let changed = fresh(".ssh/id_ed25519").list(Some(bench.cluster)).await.unwrap_err();
        assert!(changed.message.contains("has changed") && changed.message.contains("line 1"), "{changed}");
        std::fs::write(&known, "").unwrap();
        let unknown = fresh(".ssh/../.ssh/id_ed25519").list(Some(bench.cluster)).await.unwrap_err();
        assert!(unknown.hint.as_ref().unwrap().contains("--accept-host-key"), "{unknown}");
        std::fs::write(&known, text).unwrap();
    });
}

/// Lists whole files of trees on a host, each with its inode.
async fn sent(bench: &Bench) -> std::collections::BTreeSet<String> {
    let found =
        bench.hosts.shell(0, "cd /var/lib/kcl/trees && find . -type f ! -name '.kcl-*' -printf '%i %p\\n'").await;
    found.lines().map(str::to_owned).collect()
}

#[test]
fn what_is_cut_or_finds_no_room_is_gone_on_with() {
    bench::run("ks-cut", &[Kind::Bare], async |bench| {
        // A disk of kcl's own, with room for a part of the files.
        bench.hosts.shell(0, "mkdir /var/lib/kcl && mount -t tmpfs -o size=60m kcl /var/lib/kcl").await;
        let driver = bench.driver();
        let subnet = driver.propose_subnet(bench.cluster).await.unwrap();
        driver.ensure_network(&NetworkSpec::new(bench.cluster, subnet)).await.unwrap();
        let address = driver.addresses().await.unwrap()[bench.cluster];
        let spec = (fixture(bench).spec)(bench.cluster, address);
        let create = async || driver.create(&spec).await.map(drop).unwrap_err();
        let line = hosts::cut(20);
        let (error, _) = tokio::join!(create(), bench.hosts.shell(0, &line));
        let told = |error: &kcl_driver_api::Error, what: &str| {
            let hint = error.hint.clone().unwrap_or_default();
            assert_eq!(error.kind, ErrorKind::Unfinished, "{error}");
            assert!(error.message.contains(&bench.hosts.targets[0].host.to_string()), "{error}");
            assert!(error.message.contains(what) && hint.contains("kcl start -p ks-cut"), "{error} ({hint})");
        };
        told(&error, "the connection was cut");
        let first = sent(bench).await;

        let error = create().await;
        told(&error, "the disk is full");
        assert!(error.hint.unwrap().starts_with("free some disk space"));
        let second = sent(bench).await;
        assert!(first.len() > 10 && second.len() > first.len() && second.is_superset(&first), "nothing is sent twice");

        bench.hosts.shell(0, "mount -o remount,size=1g /var/lib/kcl").await;
        let machine = driver.create(&spec).await.unwrap();
        assert!(sent(bench).await.is_superset(&second));
        machine.power_on().await.unwrap();

        // A cluster of the same name, of another home, is another.
        let other = SshDriver::new(SshConfig { home: bench.base.join("other-home"), ..bench.config() });
        assert_eq!(other.list(Some(bench.cluster)).await.unwrap(), []);
        other.create(&spec).await.unwrap();
        other.delete(bench.cluster, bench.cluster).await.unwrap();
        other.delete_network(bench.cluster).await.unwrap();
        assert_eq!(machine.exec(Exec::new(["hostname"])).await.unwrap().code, 0);
        driver.delete(bench.cluster, bench.cluster).await.unwrap();
        driver.delete_network(bench.cluster).await.unwrap();
        bench.hosts.shell(0, "umount /var/lib/kcl && rmdir /var/lib/kcl").await;
    });
}

#[test]
fn systemd_keeps_a_machine_running() {
    bench::run("ks-systemd", &[Kind::Systemd], async |bench| {
        let driver = bench.driver();
        let subnet = driver.propose_subnet(bench.cluster).await.unwrap();
        driver.ensure_network(&NetworkSpec::new(bench.cluster, subnet)).await.unwrap();
        let address = driver.addresses().await.unwrap()[bench.cluster];
        let machine = driver.create(&(fixture(bench).spec)(bench.cluster, address)).await.unwrap();
        machine.power_on().await.unwrap();
        let unit = bench.hosts.shell(0, "basename /etc/systemd/system/*.wants/kcl-ks-systemd.*.service").await;
        assert_eq!(bench.hosts.shell(0, &format!("systemctl is-enabled {unit}")).await, "enabled");
        // The machine ends by itself, and is started again.
        let boot = async || machine.exec(Exec::new(["cat", "/run/boot"])).await;
        machine.exec(Exec::new(["sh", "-c", "echo first > /run/boot"])).await.unwrap();
        bench.hosts.shell(0, &format!("systemctl is-active {unit}")).await;
        let _ = machine.exec(Exec::new(["sh", "-c", "kill -TERM 1"])).await;
        while boot().await.is_err() || boot().await.is_ok_and(|output| output.code == 0) {}
        machine.power_off(std::time::Duration::from_secs(60)).await.unwrap();
        assert_ne!(bench.hosts.try_shell(0, &format!("systemctl is-enabled {unit}")).await.code, 0);
        driver.delete(bench.cluster, bench.cluster).await.unwrap();
        driver.delete_network(bench.cluster).await.unwrap();
    });
}
