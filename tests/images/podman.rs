//! Podman's service, which has Docker's API. All its files are in a directory of the test's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use crate::support::eventually;

/// In a mount namespace of its own, as Podman keeps a cache for root in a place that no flag changes (below `/var/lib`), and
/// what it has while it runs at a path of at most 50 characters.
const SERVICE: &str = r#"cd "$1"
mount -t tmpfs none /var/lib
mount -t tmpfs none /run
podman="podman --root $1/root --runroot /run/containers --tmpdir /run/libpod --storage-driver vfs"
$podman load --quiet --input "$2"
exec $podman system service --time 0 "unix://$1/podman.sock""#;

/// A service that has one image.
pub(crate) struct Podman {
    dir: PathBuf,
    child: Child,
}

impl Podman {
    /// Starts it with the image of an archive.
    pub(crate) fn start(dir: &Path, archive: &Path) -> Self {
        fs::create_dir_all(dir).expect("a directory");
        let settings = dir.join("containers.conf");
        // Else it has locks in shared memory, which stay there.
        fs::write(&settings, "[engine]\nlock_type = \"file\"\n").expect("a file");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "sh", "-ec", SERVICE, "podman"]).args([dir, archive]);
        let log = fs::File::create(dir.join("log")).expect("a file");
        command.env("CONTAINERS_CONF", settings).stdout(log.try_clone().expect("a file")).stderr(log);
        let podman = Podman { dir: dir.to_owned(), child: command.spawn().expect("unshare, of util-linux") };
        eventually("Podman answers", || {
            let socket = std::os::unix::net::UnixStream::connect(dir.join("podman.sock"));
            socket.map(drop).map_err(|error| format!("{error}: {:?}", fs::read_to_string(dir.join("log"))))
        });
        podman
    }

    /// Returns its address, in the terms of `DOCKER_HOST`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.dir.join("podman.sock").display())
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
