//! Podman's service of Docker's API, of a test's own.
//!
//! Podman is that of a root file system which the tests are given (`KCL_TEST_PODMAN`), as a distribution's may be too
//! old. The service has mount and PID namespaces of its own, in which all that it writes goes to one directory, and it
//! is in the network namespace of the thread that starts it (`own_network.rs`).

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than it takes to be ready.
const LIMIT: Duration = Duration::from_secs(60);

/// The root file system stays as it is: what is written goes to an overlay in the test's directory. Temporary directories
/// are the host's, as those that tests have in containers are there. Limits of processes
/// are what they are here: raising them takes a right that a sandbox may withhold. This kernel's control groups may be of
/// version 1, which Podman warns of.
const SCRIPT: &str = r#"set -e
mount -t tmpfs tmpfs "$2/layers"
mkdir "$2/layers/upper" "$2/layers/work" "$2/layers/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/layers/upper,workdir=$2/layers/work" overlay "$2/layers/root"
root=$2/layers/root
for name in proc sys dev tmp; do mount --rbind "/$name" "$root/$name"; done
# Beside control groups of version 1, crun wants none of version 2.
if mountpoint -q "$root/sys/fs/cgroup/unified"; then umount "$root/sys/fs/cgroup/unified"; fi
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root$2" "$root/etc/containers"
mount --bind "$2" "$root$2"
cat >"$root/etc/containers/containers.conf" <<C
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
# How long the monitor of a command in a container stays after it, in seconds: five minutes else.
exit_command_delay = 3
[containers]
log_driver = "k8s-file"
C
cat >"$root/etc/containers/storage.conf" <<C
[storage]
driver = "overlay"
graphroot = "$2/graph"
runroot = "/run/containers"
C
export PODMAN_IGNORE_CGROUPSV1_WARNING=1
# Not only chroot(2): a runtime pivots into the roots of containers.
mkdir "$root/before"
cd "$root"
pivot_root . before
exec chroot . sh -c 'umount -l /before; exec podman system service --time 0 "unix://$0/podman.sock"' "$2"
"#;

/// The running service.
pub(crate) struct Podman {
    dir: PathBuf,
    child: Child,
}

impl Podman {
    /// Starts it out of the root file system `root`, with all files in `dir`. It answers then.
    pub(crate) fn start(root: &Path, dir: &Path) -> Self {
        let dir = dir.canonicalize().expect("a directory");
        fs::create_dir(dir.join("layers")).expect("a directory");
        let log = fs::File::create(dir.join("podman.log")).expect("a log");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "sh", "-c", SCRIPT, "sh"]);
        command.arg(root).arg(&dir).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        let child = command.spawn().expect("unshare, of util-linux");
        let podman = Podman { dir, child };
        let begun = Instant::now();
        while UnixStream::connect(podman.dir.join("podman.sock")).is_err() {
            assert!(begun.elapsed() < LIMIT, "Podman is not ready:\n{}", podman.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        podman
    }

    /// Returns its address, in the terms of `DOCKER_HOST`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.dir.join("podman.sock").display())
    }

    /// Returns the service's log.
    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("podman.log")).unwrap_or_default()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("Podman said:\n{}", self.log());
        }
        // With the first process of the namespace go all others.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
