//! A Docker daemon of a test's own.
//!
//! It has mount and PID namespaces of its own, all of its files are in one directory, and it is in the network namespace
//! of the thread that starts it: with it goes all that it made, its packet filter rules among them. Whoever starts it is to have
//! entered a network namespace first (`own_network.rs`).

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than any daemon takes to be ready.
const LIMIT: Duration = Duration::from_secs(120);

/// A running daemon.
pub(crate) struct Dockerd {
    dir: PathBuf,
    child: Child,
    /// Its control groups are below one of this name.
    group: String,
    /// The additional flags.
    flags: Vec<String>,
}

impl Dockerd {
    /// Starts a daemon whose files are in `dir`. It is ready then.
    pub(crate) fn start(dir: &Path, flags: &[&str]) -> Self {
        let dir = dir.canonicalize().expect("a directory");
        // Of the whole path: tests run side by side, and their directories may have the same name.
        let group = format!("kcl-dockerd{}", dir.display().to_string().replace('/', "-"));
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let child = spawn(&dir, &group, &flags);
        Dockerd { dir, child, group, flags }
    }

    /// Returns its address, in the terms of `DOCKER_HOST`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.dir.join("docker.sock").display())
    }

    /// Returns the directory of its files.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the daemon's log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("dockerd.log")).unwrap_or_default()
    }

    /// The docker command, for looks at what is there.
    pub(crate) fn docker<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        let mut command = Command::new("docker");
        let Output { status, stdout, stderr } =
            command.args(["--host", &self.host()]).args(arguments).output().expect("the docker command");
        assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8_lossy(&stdout).trim().to_owned()
    }

    /// Ends it as a shutdown of its host does, and starts it again.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = spawn(&self.dir, &self.group, &self.flags);
    }

    /// Runs a command in its PID namespace.
    pub(crate) fn inside(&self, line: &[&str]) {
        let pid = self.pid().expect("it runs").to_string();
        let status = Command::new("nsenter").args(["--target", &pid, "--pid", "--mount", "--"]).args(line).status();
        assert!(status.expect("nsenter, of util-linux").success(), "{line:?}");
    }

    /// Lists its objects, except those of every daemon and node images.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (what, list) in [
            ("container", &["ps", "-a", "--format", "{{.Names}}"][..]),
            ("volume", &["volume", "ls", "--format", "{{.Name}}"]),
            ("network", &["network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"]),
            ("image", &["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]),
        ] {
            let names = self.docker(list.iter().copied());
            left.extend(names.lines().map(|name| format!("{what} {name}")));
        }
        left.retain(|name| !name.starts_with("image kcl.local/node:") || name.ends_with("-untried"));
        left
    }

    /// The daemon itself, the first process of its namespace.
    fn pid(&self) -> Option<Pid> {
        let outer = self.child.id();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok().map(Pid::from_raw)
    }

    fn stop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill(pid, Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            // Nothing waits for a test that failed. With the first process of the namespace go all others.
            let _ = self.child.kill();
            eprintln!("dockerd said:\n{}", tail(&self.log()));
        }
        self.stop();
        let groups = groups(&self.group);
        for group in &groups {
            let _ = fs::remove_dir(group);
        }
        let left: Vec<&PathBuf> = groups.iter().filter(|group| group.exists()).collect();
        if !left.is_empty() && !failed {
            panic!("control groups are left of a daemon: {left:?}");
        }
    }
}

/// Returns the end of a daemon's log.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// The control groups of a name, in all hierarchies.
fn groups(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    hierarchies.chain([root.to_owned()]).map(|hierarchy| hierarchy.join(name)).filter(|group| group.is_dir()).collect()
}

fn spawn(dir: &Path, group: &str, flags: &[String]) -> Child {
    let ready = dir.join("ready");
    let _ = fs::remove_file(&ready);
    let socket = UnixDatagram::bind(&ready).expect("a socket");
    socket.set_read_timeout(Some(LIMIT)).expect("a time limit");
    let log = fs::File::options().create(true).append(true).open(dir.join("dockerd.log")).expect("a log");
    let place = |name: &str| dir.join(name).display().to_string();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    // Sockets of its shims, plugins and locks are in /run, whatever its flags.
    command.args(["sh", "-c", "mount -t tmpfs tmpfs /run && exec dockerd \"$@\"", "dockerd"]);
    command.args(["--data-root", &place("data"), "--exec-root", &place("exec"), "--pidfile", &place("dockerd.pid")]);
    command.args(["--host", &format!("unix://{}", place("docker.sock")), "--bridge", "none"]);
    // Its own default would have a right to its score that a sandbox may withhold.
    command.args(["--oom-score-adjust", "0", "--exec-opt", "native.cgroupdriver=cgroupfs"]);
    command.args(["--cgroup-parent", &format!("/{group}")]).args(flags);
    command.env("NOTIFY_SOCKET", &ready).stdin(Stdio::null());
    command.stdout(log.try_clone().expect("a log")).stderr(log);
    let mut child = command.spawn().expect("unshare, of util-linux");
    let mut message = [0; 256];
    loop {
        match socket.recv(&mut message) {
            Ok(length) if message[..length].starts_with(b"READY=1") => return child,
            Ok(_) => {}
            Err(error) => {
                let _ = child.kill();
                let said = fs::read_to_string(dir.join("dockerd.log")).unwrap_or_default();
                panic!("dockerd (of docker.io) is not ready: {error}\n{}", tail(&said));
            }
        }
    }
}
