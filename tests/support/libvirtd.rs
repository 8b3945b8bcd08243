//! A libvirt of a test's own: `virtlogd` and `libvirtd`, as the system runs them.
//!
//! They have mount and PID namespaces of their own, in which all that they write to `/etc`, `/var` and `/run` goes to one
//! directory, and they are in the network namespace of the thread that starts them. With it go bridges and packet
//! filter rules, and with the daemon its machines. Whoever starts it is to have entered a network namespace first
//! (`own_network.rs`).

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than any daemon takes to be ready.
const LIMIT: Duration = Duration::from_secs(60);

/// Sets up the user of QEMU, as a distribution's package does, but in the daemon's own `/etc`. Control groups are the
/// host's, and left alone.
const SCRIPT: &str = r#"set -e
for name in etc var; do
    mkdir -p "$1/$name" "$1/$name.work"
    mount -t overlay -o "lowerdir=/$name,upperdir=$1/$name,workdir=$1/$name.work" overlay "/$name"
done
mkdir -p "$1/run/libvirt" /etc/libvirt /var/log/libvirt/qemu /var/lib/libvirt/dnsmasq
# Where kcl has its sockets is one place for all daemons.
mkdir -p /run/kcl "$1/run/kcl"
mount --bind /run/kcl "$1/run/kcl"
mount --rbind "$1/run" /run
grep -q ^libvirt-qemu: /etc/passwd || echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin' >>/etc/passwd
grep -q ^libvirt-qemu: /etc/group || echo 'libvirt-qemu:x:64055:' >>/etc/group
grep -q ^kvm: /etc/group || echo 'kvm:x:64056:' >>/etc/group
echo 'cgroup_controllers = []' >/etc/libvirt/qemu.conf
# As udev has it. Where QEMU's user cannot open it, libvirt probes QEMU again for each request.
if [ -e /dev/kvm ]; then
    cp -a /dev/kvm "$1/kvm"
    chmod 666 "$1/kvm"
    mount --bind "$1/kvm" /dev/kvm
fi
virtlogd --daemon
# The shell stays the first process: it takes note of the ends of processes whose parents are gone.
libvirtd &
wait $!
"#;

/// The running daemons.
pub(crate) struct Libvirtd {
    dir: PathBuf,
    child: Child,
}

impl Libvirtd {
    /// Starts them with all files in `dir`. They are ready then.
    pub(crate) fn start(dir: &Path) -> Self {
        let dir = dir.canonicalize().expect("a directory");
        let child = spawn(&dir);
        Libvirtd { dir, child }
    }

    /// Returns their address, in the terms of `LIBVIRT_DEFAULT_URI`.
    pub(crate) fn uri(&self) -> String {
        format!("qemu+unix:///system?socket={}", self.dir.join("run/libvirt/libvirt-sock").display())
    }

    /// Returns libvirtd's log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("libvirtd.log")).unwrap_or_default()
    }

    /// Acts as a power cut and the start of the host after it: all processes are killed, and so are removed
    /// links, packet filter rules and what is in `/run`.
    pub(crate) fn power_cut(&mut self) {
        end(&mut self.child);
        let _ = fs::remove_dir_all(self.dir.join("run"));
        for link in links() {
            let deleted = Command::new("ip").args(["link", "delete", &link]).status().expect("ip, of iproute2");
            assert!(deleted.success(), "ip link delete {link}");
        }
        let tables = "for table in filter nat mangle; do printf '*%s\\nCOMMIT\\n' $table; done | iptables-restore";
        let flushed = Command::new("sh").args(["-c", tables]).status().expect("sh");
        assert!(flushed.success(), "iptables-restore");
        self.child = spawn(&self.dir);
    }

    /// Lists resources, except those of every daemon: definitions, running domains, links, and packet filter rules.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = links();
        for place in ["etc/libvirt/qemu", "etc/libvirt/qemu/networks", "etc/libvirt/qemu/autostart", "run/libvirt/qemu"]
        {
            let entries = fs::read_dir(self.dir.join(place)).into_iter().flatten().flatten().map(|entry| entry.path());
            left.extend(
                entries
                    .filter(|path| path.extension().is_some_and(|end| end == "xml"))
                    .map(|path| path.display().to_string()),
            );
        }
        let rules = Command::new("iptables-save").output().expect("iptables-save");
        let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
        left.extend(rules.lines().filter(|line| line.contains("kcl")).map(str::to_owned));
        left
    }
}

impl Drop for Libvirtd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("libvirtd said:\n{}", tail(&self.log()));
        }
        end(&mut self.child);
    }
}

/// Ends all that runs there.
fn end(outer: &mut Child) {
    match first_process(outer) {
        // With the first process of the namespace go all others, before its parent ends.
        Some(pid) => drop(kill(pid, Signal::SIGKILL)),
        None => drop(outer.kill()),
    }
    let _ = outer.wait();
}

/// Links of kcl's machines and networks in this network namespace.
fn links() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/net/dev").expect("the links");
    let names = table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    names.filter(|name| name.starts_with("kclv-") || name.starts_with("kq")).collect()
}

fn first_process(outer: &Child) -> Option<Pid> {
    let outer = outer.id();
    let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok().map(Pid::from_raw)
}

/// Returns the end of a daemon's log.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.contains("ethtool")).collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

fn spawn(dir: &Path) -> Child {
    let ready = dir.join("ready");
    let _ = fs::remove_file(&ready);
    let socket = UnixDatagram::bind(&ready).expect("a socket");
    socket.set_read_timeout(Some(LIMIT)).expect("a time limit");
    let log = fs::File::options().create(true).append(true).open(dir.join("libvirtd.log")).expect("a log");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "sh", "-c", SCRIPT, "sh"]);
    command.arg(dir).env("NOTIFY_SOCKET", &ready).stdin(Stdio::null());
    command.stdout(log.try_clone().expect("a log")).stderr(log);
    let mut child = command.spawn().expect("unshare, of util-linux");
    let mut message = [0; 256];
    // virtlogd says it as well, before.
    let daemon = dir.join("run/libvirt/libvirt-sock");
    loop {
        match socket.recv(&mut message) {
            Ok(length) if message[..length].starts_with(b"READY=1") && daemon.exists() => return child,
            Ok(_) => {}
            Err(error) => {
                end(&mut child);
                let said = fs::read_to_string(dir.join("libvirtd.log")).unwrap_or_default();
                panic!("libvirtd (of libvirt-daemon) is not ready: {error}\n{}", tail(&said));
            }
        }
    }
}
