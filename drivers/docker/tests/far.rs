//! Tests engines that are not reached by a socket of this host: over TLS with certificates of both sides, and over SSH.
//!
//! The environment variables of the docker command select the engine, so each part runs as a process of its own.

#[path = "../../../tests/support/dockerd.rs"]
#[allow(dead_code)]
mod dockerd;
#[path = "../../../tests/support/own_network.rs"]
mod own_network;
#[path = "../../../tests/support/sshd.rs"]
mod sshd;
#[path = "../../../tests/support/user.rs"]
mod user;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use dockerd::Dockerd;
use kcl_driver_api::contract::{self, Fixture};
use kcl_driver_api::{Driver, Reach};
use kcl_driver_docker::{DockerConfig, DockerDriver};
use own_network::own_network;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use sshd::Sshd;

/// The variable with the home of the driver, set in a child process that is not a test of its own.
const CHILD_OF: &str = "KCL_TEST_CHILD_OF";

fn rootfs() -> Option<PathBuf> {
    let rootfs = std::env::var_os("KCL_TEST_ROOTFS").map(PathBuf::from);
    if rootfs.is_none() {
        eprintln!("skipped: KCL_TEST_ROOTFS is not set");
    }
    rootfs
}

/// Returns the command that runs [`far_away`] with these variables.
fn far_away_with(home: &Path, variables: &[(&str, &str)]) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "--ignored", "far_away", "--nocapture"]).env(CHILD_OF, home);
    for name in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "SSH_AUTH_SOCK"] {
        child.env_remove(name);
    }
    child.envs(variables.iter().copied());
    child
}

/// Runs a child process, which has to succeed.
fn succeeds(child: &mut Command) {
    let status = child.status().unwrap();
    assert!(status.success(), "{status}");
}

/// Runs a part of the contract for another test, with the engine that the environment names.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "only as a child"]
async fn far_away() {
    let (Some(home), Some(rootfs)) = (std::env::var_os(CHILD_OF), rootfs()) else { return };
    let driver = DockerDriver::new(DockerConfig { home: home.into(), host: None });
    let over_ssh = std::env::var("DOCKER_HOST").unwrap().starts_with("ssh://");
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let reach = if over_ssh { Reach::Published { bind: loopback, at: loopback } } else { Reach::Address };
    assert_eq!(driver.capabilities("kd-far", "kd-far").await.unwrap().reach, reach);
    let fixture = Fixture::new("kd-far", &rootfs);
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

#[test]
fn over_ssh() {
    if rootfs().is_none() {
        return;
    }
    own_network(|| {
        let dir = tempfile::Builder::new().prefix("kcl-ssh-").tempdir().unwrap();
        let data = dir.path().join("daemon");
        fs::create_dir(&data).unwrap();
        let sshd = Sshd::start(dir.path());
        let daemon = Dockerd::start(&data, &[]);
        let socket = daemon.dir().join("docker.sock");
        let host = format!("ssh://root@127.0.0.1:{}{}", sshd::PORT, socket.display());
        let home = sshd.user().display().to_string();
        let variables = [("DOCKER_HOST", host.as_str()), ("HOME", &home)];
        // A host that is not known is refused.
        let driver_home = dir.path().join("home");
        let stranger = far_away_with(&driver_home, &variables).output().unwrap();
        let said = String::from_utf8_lossy(&stranger.stderr);
        assert!(!stranger.status.success() && said.contains("is not known"), "{said}");
        sshd.be_known();
        succeeds(&mut far_away_with(&driver_home, &variables));
        assert_eq!(daemon.left(), [""; 0]);
    });
}

/// Runs as a user with no right except that to the engine's socket; the root file system is the user's own.
#[test]
fn as_a_user_who_is_not_root() {
    let Some(rootfs) = rootfs() else { return };
    own_network(|| {
        let dir = tempfile::Builder::new().prefix("kcl-user-").tempdir().unwrap();
        let data = dir.path().join("daemon");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
        let own = user::own_rootfs(dir.path(), &rootfs);
        let daemon = Dockerd::start(&data, &["--group", &user::USER.to_string()]);
        let mut child = user::as_user(dir.path(), "far_away");
        child.env(CHILD_OF, dir.path().join("home")).env("KCL_TEST_ROOTFS", &own).env("DOCKER_HOST", daemon.host());
        succeeds(&mut child);
        assert_eq!(daemon.left(), [""; 0]);
    });
}
