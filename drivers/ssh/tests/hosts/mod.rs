//! Hosts to log in to: machines of the native driver that run Debian with a real sshd, each with file systems, processes,
//! control groups and a network of its own.
//!
//! `KCL_TEST_SSH_HOST` names their root file system, unpacked (`make test-hosts` makes one by mmdebstrap).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures::future::try_join_all;
use kcl_driver_api::contract;
use kcl_driver_api::{Driver, Exec, ExecOutput, File, Machine, MachineSpec, NetworkSpec};
use kcl_driver_native::{NativeConfig, NativeDriver};
use kcl_driver_ssh::{Place, Target};
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};

/// The first process of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first process is sshd, and there is nothing else.
    Bare,
    /// The first process is systemd.
    Systemd,
}

/// Hosts of one test of a binary at a time: they have the same names and, one after another, the same addresses.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Some hosts on one network, and a key that root accepts on all of them; so do `free`, who has sudo without a
/// password, and `locked`, who has sudo with the password "secret".
pub(crate) struct Hosts {
    /// The driver that makes the hosts.
    pub driver: NativeDriver,
    /// The cluster that the hosts are in for the native driver.
    pub name: String,
    /// The home directory of the user who logs in.
    pub user_home: PathBuf,
    /// The hosts, in order.
    pub machines: Vec<Box<dyn Machine>>,
    /// The targets of the hosts.
    pub targets: Vec<Target>,
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

/// Opens the hosts' network, at whose bridge this address is, to other networks of this computer: it stands for the network
/// of a company, which kcl did not make and does not close.
fn open(address: &str, rootfs: &Path) {
    let links = Command::new("ip").args(["-o", "-4", "address", "show", "to", address]).output().expect("ip runs");
    let links = String::from_utf8_lossy(&links.stdout).into_owned();
    let bridge = links.split_whitespace().nth(1).unwrap_or_else(|| panic!("no link has {address}"));
    let script = format!("flush chain ip {} forward", bridge.replace('-', "_"));
    let flushed = Command::new("chroot").arg(rootfs).args(["nft", &script]).output().expect("nft runs");
    assert!(flushed.status.success(), "{script}: {}", String::from_utf8_lossy(&flushed.stderr));
}

/// Returns a root file system with sshd, if there is one.
pub(crate) fn rootfs() -> Option<PathBuf> {
    let path = std::env::var_os("KCL_TEST_SSH_HOST").map(PathBuf::from);
    if path.is_none() {
        eprintln!("skipped: KCL_TEST_SSH_HOST is not set");
    }
    path.inspect(|path| assert!(path.is_dir(), "{} is not there", path.display()))
}

impl Hosts {
    /// Makes hosts below `base`, an empty directory: as many as there are kinds.
    pub(crate) async fn new(base: &Path, name: &str, runc: &Path, rootfs: &Path, kinds: &[Kind]) -> Hosts {
        let turn = TURN.lock().await;
        let config = NativeConfig {
            home: base.join("hosts"),
            run: base.join("hosts-run"),
            runc: Some(runc.to_owned()),
            rootfs: Some(rootfs.to_owned()),
        };
        let driver = NativeDriver::new(config);
        let subnet = driver.propose_subnet(name).await.expect("a free subnet");
        driver.ensure_network(&NetworkSpec::new(name, subnet)).await.expect("a network");
        let user_home = base.join("user");
        std::fs::create_dir_all(user_home.join(".ssh")).expect("a home");
        let key = PrivateKey::random(&mut rand_core(), Algorithm::Ed25519).expect("a key");
        key.write_openssh_file(user_home.join(".ssh/id_ed25519"), LineEnding::LF).expect("a key");
        let public = key.public_key().to_openssh().expect("a key");
        let make = kinds.iter().enumerate().map(|(index, kind)| {
            let address = subnet.hosts().nth(9 + index).expect("an address");
            let spec = MachineSpec {
                volumes: vec!["/var/lib".into()],
                init: init(*kind),
                ..contract::spec(name, &format!("{name}-{index}"), address, rootfs)
            };
            let (driver, public) = (&driver, public.clone());
            async move {
                let machine = driver.create(&spec).await?;
                let file = |path: &str, mode, content: &str| File { path: path.into(), mode, content: content.into() };
                machine
                    .put(&[
                        file("/root/.ssh/authorized_keys", 0o600, &public),
                        file("/etc/ssh/sshd_config.d/test.conf", 0o644, "UsePAM no\nUseDNS no\n"),
                    ])
                    .await?;
                machine.power_on().await?;
                for (user, rule) in [("free", "NOPASSWD: ALL"), ("locked", "ALL")] {
                    let line = format!(
                        "useradd -m {user} && echo {user}:secret | chpasswd && cp -r /root/.ssh /home/{user} && \
                         chown -R {user}: /home/{user} && echo '{user} ALL=(ALL) {rule}' > /etc/sudoers.d/{user}"
                    );
                    let done = machine.exec(Exec::new(["sh", "-c", &line])).await?;
                    assert_eq!(done.code, 0, "{}", String::from_utf8_lossy(&done.stderr));
                }
                listening(&*machine).await;
                Ok::<_, kcl_driver_api::Error>((machine, address))
            }
        });
        let (machines, addresses): (Vec<_>, Vec<_>) = try_join_all(make).await.expect("hosts").into_iter().unzip();
        open(&subnet.hosts().next().expect("an address").to_string(), rootfs);
        let target = |address: &kcl_driver_api::Addresses| Target {
            host: Place { user: Some("root".to_owned()), address: address.to_string(), port: None },
            key: None,
            jump: None,
        };
        let targets = addresses.iter().map(target).collect();
        Hosts { _turn: turn, driver, name: name.to_owned(), user_home, machines, targets }
    }

    /// Runs a shell line on a host without SSH; returns its output, trimmed.
    pub(crate) async fn shell(&self, index: usize, line: &str) -> String {
        let output = self.try_shell(index, line).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.code, 0, "{line}: {stderr}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a shell line as [`Self::shell`] does; it may fail.
    pub(crate) async fn try_shell(&self, index: usize, line: &str) -> ExecOutput {
        self.machines[index].exec(Exec::new(["sh", "-c", line])).await.expect("a command on a host")
    }

    /// Cuts a host's power and starts it again: it is up then.
    #[allow(dead_code)]
    pub(crate) async fn restart(&self, index: usize) {
        let machine = &*self.machines[index];
        machine.power_off(Duration::ZERO).await.expect("a host without power");
        machine.power_on().await.expect("a host with power");
        listening(machine).await;
    }

    /// Returns everything that can be seen of a host except the time: files, mounts, processes, control groups, and its
    /// network. Names that change with a restart are left out: numbers of links, directories of systemd's.
    pub(crate) async fn traces(&self, index: usize) -> String {
        // Commands that look are processes themselves; sshd's for connections come and go.
        self.shell(
            index,
            "find / -xdev -path /proc -prune -o -path /sys -prune -o -path /var/log -prune -o -path /tmp -prune -o \
               -path '/var/tmp/systemd-private-*' -prune -o -type d -printf '%p %m\\n' -o -printf '%p %m %s %l\\n' | grep -v -e ^/etc/systemd/system.*.wants | sort; \
             find /var/lib -path /var/lib/systemd -prune -o -printf '%p %m\\n' | sort; \
             cut -d' ' -f5,9- /proc/self/mountinfo | grep -v ' cgroup' | sort; \
             ps -e -o comm= | grep -v -e ^ps -e ^sh$ -e ^sort -e ^sshd -e ^find -e ^cut -e ^grep -e ^kworker | sort; \
             find /sys/fs/cgroup -type d -path '*kcl*'; \
             nft list ruleset; ip -o -d link | sed 's/^[0-9]*: //; s/@if[0-9]*//; s/ *promiscuity.*//'; \
             ip -o addr | grep -v fe80: | sed 's/^[0-9]*: //; s/valid_lft.*//'; \
             ip route show table all | grep -v fe80:; ip rule; \
             find /proc/sys/net /proc/sys/vm/overcommit_memory /proc/sys/vm/panic_on_oom /proc/sys/kernel/panic \
               /proc/sys/kernel/panic_on_oops -type f -perm /u=r ! -name '*stable_secret' ! -name flush \
               ! -path '*/neigh/*' ! -name '*nf_conntrack_count' ! -name 'nf_conntrack_generic*' \
               -exec sh -c 'for f; do printf \"%s \" $f; cat $f 2>/dev/null; done' _ {} + | sort",
        )
        .await
    }

    /// Panics if a host is not as it was, and shows only the difference.
    pub(crate) async fn assert_as_before(&self, before: &[String]) {
        let missing = |from: &str, of: &str| -> Vec<String> {
            let there: std::collections::BTreeSet<&str> = of.lines().collect();
            from.lines().filter(|line| !there.contains(line)).map(str::to_owned).collect()
        };
        for (host, (before, after)) in before.iter().zip(self.all_traces().await).enumerate() {
            let (gone, left) = (missing(before, &after), missing(&after, before));
            let same = gone.is_empty() && left.is_empty();
            assert!(same, "host {host} is not as it was found\ngone: {gone:#?}\nleft: {left:#?}");
        }
    }

    /// Returns the traces of all hosts.
    pub(crate) async fn all_traces(&self) -> Vec<String> {
        let mut all = Vec::new();
        for index in 0..self.machines.len() {
            all.push(self.traces(index).await);
        }
        all
    }

    /// Removes the hosts.
    pub(crate) async fn end(self) {
        let delete = self.machines.iter().map(|machine| self.driver.delete(&self.name, machine.name()));
        try_join_all(delete).await.expect("hosts deleted");
        self.driver.delete_network(&self.name).await.expect("network deleted");
    }
}

/// Returns a shell line that cuts all connections once so many MiB of a machine's files have arrived.
pub(crate) fn cut(size: u32) -> String {
    format!(
        "timeout 120 sh -c 'until [ \"$(du -sm /var/lib/kcl/trees | cut -f1)\" -ge {size} ]; do :; done' 2>/dev/null && \
         pkill -KILL -f '^sshd: .*@'"
    )
}

fn rand_core() -> impl russh::keys::ssh_key::rand_core::CryptoRng {
    russh::keys::key::safe_rng()
}

fn init(kind: Kind) -> Vec<String> {
    match kind {
        Kind::Bare => ["sh", "-c", "mkdir -p /run/sshd; ssh-keygen -A >/dev/null; exec /usr/sbin/sshd -D -e"]
            .map(String::from)
            .into(),
        Kind::Systemd => vec!["/sbin/init".to_owned()],
    }
}

/// Waits for the host's sshd.
async fn listening(machine: &dyn Machine) {
    let line = "for n in $(seq 600); do ss -Hltn sport = :22 | grep -q . && exit 0; sleep 0.1; done; exit 1";
    let looked = tokio::time::timeout(Duration::from_secs(120), machine.exec(Exec::new(["sh", "-c", line]))).await;
    assert_eq!(
        looked.expect("in time").expect("a command").code,
        0,
        "sshd does not listen: {:?}",
        machine.console().await.map(|said| String::from_utf8_lossy(&said).into_owned())
    );
}
