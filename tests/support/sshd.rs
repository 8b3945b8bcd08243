//! sshd of a test's own, in the network namespace of the thread that starts it, and a user who may come in as root.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The server's port, in the test's own network namespace.
pub(crate) const PORT: u16 = 2222;

/// It ends with this.
pub(crate) struct Sshd {
    child: Child,
    user: PathBuf,
    host_key: String,
}

impl Sshd {
    /// Starts one whose files are in `dir`. It answers then.
    pub(crate) fn start(dir: &Path) -> Self {
        let user = dir.join("user");
        let settings = user.join(".ssh");
        fs::create_dir_all(&settings).unwrap();
        fs::set_permissions(&settings, fs::Permissions::from_mode(0o700)).unwrap();
        let key = |path: &Path| {
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path);
            assert!(command.status().expect("ssh-keygen, of openssh-client").success());
            fs::read_to_string(path.with_extension("pub")).unwrap()
        };
        let host_key = key(&dir.join("host"));
        fs::write(settings.join("authorized_keys"), key(&settings.join("id_ed25519"))).unwrap();
        let config = format!(
            "ListenAddress 127.0.0.1:{PORT}\nHostKey {0}/host\nPidFile none\nUsePAM no\nStrictModes no\n\
             PermitRootLogin prohibit-password\nAuthorizedKeysFile {0}/user/.ssh/authorized_keys\n",
            dir.display()
        );
        let config_file = dir.join("sshd_config");
        fs::write(&config_file, config).unwrap();
        // It wants an empty directory in /run, which is the test's own so.
        let line = "mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f \"$0\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-c", line]).arg(&config_file);
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("unshare, of util-linux");
        while TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).is_err() {
            std::thread::yield_now();
        }
        Sshd { child, user, host_key }
    }

    /// The home directory of the user who may come in.
    pub(crate) fn user(&self) -> &Path {
        &self.user
    }

    /// Has the user know the host.
    pub(crate) fn be_known(&self) {
        fs::write(self.user.join(".ssh/known_hosts"), format!("[127.0.0.1]:{PORT} {}", self.host_key)).unwrap();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
