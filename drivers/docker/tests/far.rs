//! Engines that are not reached by a socket of this host: over TLS with certificates of both sides, and over SSH.
//!
//! The docker command's own variables say so, so what is tested runs as a process of its own.

#[path = "../../../tests/support/dockerd.rs"]
#[allow(dead_code)]
mod dockerd;
#[path = "../../../tests/support/own_network.rs"]
mod own_network;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use dockerd::Dockerd;
use kcl_driver_api::contract::{self, Fixture, GREETING, VOLUME};
use kcl_driver_api::{Driver, MachineSpec, Reach};
use kcl_driver_docker::{DockerConfig, DockerDriver};
use own_network::own_network;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// Set in a child that is no test of its own: the home of its driver.
const CHILD_OF: &str = "KCL_TEST_CHILD_OF";

/// Where sshd listens, in a network namespace of the test's own.
const SSH_PORT: u16 = 2222;

fn rootfs() -> Option<PathBuf> {
    let rootfs = std::env::var_os("KCL_TEST_ROOTFS").map(PathBuf::from);
    if rootfs.is_none() {
        eprintln!("skipped: KCL_TEST_ROOTFS is not set");
    }
    rootfs
}

/// [`far_away`] with these variables, to be run.
fn far_away_with(home: &Path, variables: &[(&str, &str)]) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "--ignored", "far_away", "--nocapture"]).env(CHILD_OF, home);
    for name in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "SSH_AUTH_SOCK"] {
        child.env_remove(name);
    }
    child.envs(variables.iter().copied());
    child
}

/// Runs it, which has to succeed.
fn succeeds(child: &mut Command) {
    let status = child.status().unwrap();
    assert!(status.success(), "{status}");
}

/// Not a test: a part of the contract with the engine that the environment names.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "only as a child"]
async fn far_away() {
    let (Some(home), Some(rootfs)) = (std::env::var_os(CHILD_OF), rootfs()) else { return };
    let driver = DockerDriver::new(DockerConfig { home: home.into(), host: None });
    let over_ssh = std::env::var("DOCKER_HOST").unwrap().starts_with("ssh://");
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let reach = if over_ssh { Reach::Published { bind: loopback, at: loopback } } else { Reach::Address };
    assert_eq!(driver.capabilities("kd-far").await.unwrap().reach, reach);
    let script = format!("trap 'exit 0' TERM; echo '{GREETING}'; while :; do sleep 1000 & wait; done");
    let spec = move |name: &str, address| MachineSpec {
        cluster: "kd-far".into(),
        name: name.into(),
        address,
        cpus: None,
        cpu_weight: 100,
        memory: None,
        rootfs: rootfs.clone(),
        trees: Vec::new(),
        volumes: vec![VOLUME.into()],
        ports: Vec::new(),
        mounts: Vec::new(),
        init: ["/bin/sh", "-c", &script].map(String::from).to_vec(),
        labels: [("kcl.cluster".into(), "kd-far".into())].into(),
    };
    let fixture = Fixture { cluster: "kd-far".into(), spec: Box::new(spec) };
    contract::commands(&driver, &fixture).await;
    contract::files(&driver, &fixture).await;
}

#[test]
fn over_tls() {
    if rootfs().is_none() {
        return;
    }
    own_network(|| {
        let dir = tempfile::Builder::new().prefix("kcl-tls-").tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let ca_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).unwrap();
        let ca_file = write("ca.pem", ca.pem());
        let issuer = Issuer::new(params, ca_key);
        let issue = |prefix: &str, usage| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
            params.extended_key_usages = vec![usage];
            let certificate = params.signed_by(&key, &issuer).unwrap();
            (
                write(&format!("{prefix}cert.pem"), certificate.pem()),
                write(&format!("{prefix}key.pem"), key.serialize_pem()),
            )
        };
        let (cert, key) = issue("server-", ExtendedKeyUsagePurpose::ServerAuth);
        issue("", ExtendedKeyUsagePurpose::ClientAuth);
        let data = dir.path().join("daemon");
        fs::create_dir(&data).unwrap();
        let flags = ["--host", "tcp://127.0.0.1:2376", "--tlsverify", "--tlscacert", &ca_file, "--tlscert", &cert];
        let daemon = Dockerd::start(&data, &[&flags[..], &["--tlskey", &key]].concat());
        let certificates = dir.path().display().to_string();
        let variables =
            [("DOCKER_HOST", "tcp://127.0.0.1"), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", &certificates)];
        succeeds(&mut far_away_with(&dir.path().join("home"), &variables));
        assert_eq!(daemon.left(), [""; 0]);
    });
}

/// A daemon of SSH for a test, which ends with it.
struct Sshd(Child);

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn over_ssh() {
    if rootfs().is_none() {
        return;
    }
    own_network(|| {
        let dir = tempfile::Builder::new().prefix("kcl-ssh-").tempdir().unwrap();
        let (user, data) = (dir.path().join("user/.ssh"), dir.path().join("daemon"));
        fs::create_dir_all(&user).unwrap();
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&user, fs::Permissions::from_mode(0o700)).unwrap();
        let key = |path: &Path| {
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path);
            assert!(command.status().expect("ssh-keygen, of openssh-client").success());
            fs::read_to_string(path.with_extension("pub")).unwrap()
        };
        let host_key = key(&dir.path().join("host"));
        fs::write(user.join("authorized_keys"), key(&user.join("id_ed25519"))).unwrap();
        let config = format!(
            "ListenAddress 127.0.0.1:{SSH_PORT}\nHostKey {0}/host\nPidFile none\nUsePAM no\nStrictModes no\n\
             PermitRootLogin prohibit-password\nAuthorizedKeysFile {0}/user/.ssh/authorized_keys\n",
            dir.path().display()
        );
        let config_file = dir.path().join("sshd_config");
        fs::write(&config_file, config).unwrap();
        // It wants an empty directory in /run, which is the test's own so.
        let line = "mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f \"$0\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-c", line]).arg(&config_file);
        let sshd = Sshd(command.stdin(Stdio::null()).spawn().unwrap());
        while TcpStream::connect((Ipv4Addr::LOCALHOST, SSH_PORT)).is_err() {
            std::thread::yield_now();
        }
        let daemon = Dockerd::start(&data, &[]);
        let socket = daemon.dir().join("docker.sock");
        let host = format!("ssh://root@127.0.0.1:{SSH_PORT}{}", socket.display());
        let home = dir.path().join("user").display().to_string();
        let variables = [("DOCKER_HOST", host.as_str()), ("HOME", &home)];
        // Who is not known is not talked to.
        let driver_home = dir.path().join("home");
        let stranger = far_away_with(&driver_home, &variables).output().unwrap();
        let said = String::from_utf8_lossy(&stranger.stderr);
        assert!(!stranger.status.success() && said.contains("is not known"), "{said}");
        fs::write(user.join("known_hosts"), format!("[127.0.0.1]:{SSH_PORT} {host_key}")).unwrap();
        succeeds(&mut far_away_with(&driver_home, &variables));
        assert_eq!(daemon.left(), [""; 0]);
        drop(sshd);
    });
}

/// Of another user's files and with no right but that to the engine's socket: the root file system is the user's own.
#[test]
fn as_a_user_who_is_not_root() {
    const USER: u32 = 65_534;
    let Some(rootfs) = rootfs() else { return };
    own_network(|| {
        let dir = tempfile::Builder::new().prefix("kcl-user-").tempdir().unwrap();
        let (data, own) = (dir.path().join("daemon"), dir.path().join("user/rootfs"));
        fs::create_dir(&data).unwrap();
        for directory in ["bin", "etc", "proc", "sys", "dev", "run", "tmp"] {
            fs::create_dir_all(own.join(directory)).unwrap();
        }
        let busybox =
            ["usr/bin/busybox", "bin/busybox"].map(|name| rootfs.join(name)).into_iter().find(|path| path.exists());
        fs::copy(busybox.expect("busybox in the root file system"), own.join("bin/busybox")).unwrap();
        for name in ["sh", "cat", "sleep", "dd", "mkdir", "mv", "rm", "chmod", "true"] {
            std::os::unix::fs::symlink("busybox", own.join("bin").join(name)).unwrap();
        }
        fs::write(own.join("etc/secret"), "the user's own").unwrap();
        fs::set_permissions(own.join("etc/secret"), fs::Permissions::from_mode(0o600)).unwrap();
        let chown = Command::new("chown").args(["-R", &format!("{USER}:{USER}")]).arg(dir.path().join("user")).status();
        assert!(chown.unwrap().success());
        for open in [dir.path(), &data] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let daemon = Dockerd::start(&data, &["--group", &USER.to_string()]);
        let mut child = Command::new("setpriv");
        child.args([
            "--reuid",
            &USER.to_string(),
            "--regid",
            &USER.to_string(),
            "--clear-groups",
            "--bounding-set=-all",
        ]);
        // Where the test itself lies may be closed to others. Copied by another process: a child of another test's
        // thread could inherit our descriptor for a moment, and what is open for writing cannot be run (ETXTBSY).
        let program = dir.path().join("test");
        succeeds(Command::new("install").args(["-m", "755"]).arg(std::env::current_exe().unwrap()).arg(&program));
        child.arg(&program).args(["--exact", "--ignored", "far_away", "--nocapture"]);
        child.env(CHILD_OF, dir.path().join("home")).env("KCL_TEST_ROOTFS", &own).env("DOCKER_HOST", daemon.host());
        succeeds(child.current_dir("/"));
        assert_eq!(daemon.left(), [""; 0]);
    });
}
