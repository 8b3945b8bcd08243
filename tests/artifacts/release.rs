//! Releases, from a local server that has the upstream layout and tiny fake programs.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kcl::artifacts::catalog::CATALOG;
use kcl::artifacts::{Artifacts, Options, Way};
use kcl::digest;
use kcl::error::{Error, Id};
use kcl::progress::Progress;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, connect, getsockname, listen, socket,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::server::{Behaviour, Files, start};

const KUBERNETES: [&str; 6] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"];

fn fake(name: &str) -> Vec<u8> {
    format!("#!/bin/sh\necho {name}\n").into_bytes()
}

/// Returns fake releases of Kubernetes, runc and the CNI plugins.
pub(crate) fn upstream() -> Files {
    let mut files = Files::new();
    let version = CATALOG.kubernetes_version("").expect("a version");
    for name in KUBERNETES {
        let path = format!("/{version}/bin/linux/amd64/{name}");
        files.insert(format!("{path}.sha256"), digest::of_bytes(&fake(name)).into_bytes());
        files.insert(path, fake(name));
    }
    let version = CATALOG.artifact("runc").expect("runc").version;
    let directory = format!("/opencontainers/runc/releases/download/v{version}");
    let sums = format!("{}  runc.arm64\n{}  runc.amd64\n", "0".repeat(64), digest::of_bytes(&fake("runc")));
    files.insert(format!("{directory}/runc.sha256sum"), sums.into_bytes());
    files.insert(format!("{directory}/runc.amd64"), fake("runc"));

    let version = CATALOG.artifact("cni-plugins").expect("plugins").version;
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for name in ["README.md", "bridge", "host-local", "loopback", "portmap", "ptp", "vlan"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(fake(name).len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("./{name}"), fake(name).as_slice()).expect("append");
    }
    let archive = tar.into_inner().and_then(flate2::write::GzEncoder::finish).expect("an archive");
    let name = format!("cni-plugins-linux-amd64-v{version}.tgz");
    let path = format!("/containernetworking/plugins/releases/download/v{version}/{name}");
    files.insert(format!("{path}.sha256"), format!("{}  {name}\n", digest::of_bytes(&archive)).into_bytes());
    files.insert(path, archive);
    files
}

fn runc_path() -> String {
    let version = CATALOG.artifact("runc").expect("runc").version;
    format!("/opencontainers/runc/releases/download/v{version}/runc.amd64")
}

async fn fetch(cache: &Path, names: &[&str], options: Options, way: Way) -> Result<Vec<PathBuf>, Error> {
    let artifacts = Artifacts::open(cache, options)?;
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    artifacts.fetch(&names, &way, &Progress::silent()).await
}

fn mirror(address: impl std::fmt::Display) -> Options {
    Options { mirror: Some(format!("http://{address}/")), ca_file: None }
}

/// Nothing of the artifact is in the cache, not even a part.
fn nothing_kept(cache: &Path) {
    assert_eq!(std::fs::read_dir(cache.join("downloads")).expect("downloads").count(), 0);
    let artifacts = Artifacts::open(cache, Options::default()).expect("open");
    assert!(artifacts.list().expect("list").iter().all(|row| !row.cached), "nothing is cached");
}

#[tokio::test]
async fn single_files_and_archives_become_the_same_layout() {
    let server = start(upstream(), Behaviour::default(), None).await;
    let cache = tempfile::tempdir().expect("a directory");
    let names = ["kubernetes", "runc", "cni-plugins"];
    let paths = fetch(cache.path(), &names, mirror(server.address), Way::Release).await.expect("fetch");
    for program in KUBERNETES {
        assert_eq!(std::fs::read(paths[0].join("bin").join(program)).expect("program"), fake(program));
    }
    assert_eq!(std::fs::read(paths[1].join("bin/runc")).expect("runc"), fake("runc"));
    let plugin = paths[2].join("cni/ptp");
    assert_eq!(std::fs::read(&plugin).expect("ptp"), fake("ptp"));
    assert_eq!(std::fs::metadata(&plugin).expect("ptp").permissions().mode() & 0o777, 0o755);
    assert!(!paths[2].join("cni/vlan").exists(), "only what the catalog names is taken");

    let asked = server.requests.lock().expect("requests").len();
    fetch(cache.path(), &names, mirror(server.address), Way::Release).await.expect("fetch");
    assert_eq!(server.requests.lock().expect("requests").len(), asked, "the second time the cache has it");
}

#[tokio::test]
async fn a_wrong_digest_is_an_error_in_every_way() {
    let mut files = upstream();
    files.insert(runc_path(), b"something else".to_vec());
    let server = start(files, Behaviour::default(), None).await;
    for way in [Way::Release, Way::Auto] {
        let cache = tempfile::tempdir().expect("a directory");
        let error = fetch(cache.path(), &["runc"], mirror(server.address), way).await.expect_err("a wrong digest");
        assert_eq!(error.id, Id::ArtifactDigest);
        let (expected, found) = (digest::of_bytes(&fake("runc")), digest::of_bytes(b"something else"));
        for part in ["runc.amd64", expected.as_str(), found.as_str()] {
            assert!(error.message.contains(part), "{error}");
        }
        nothing_kept(cache.path());
    }
}

/// Traefik comes with files that this kcl has digests of.
#[tokio::test]
async fn a_mirror_cannot_change_what_is_pinned() {
    let traefik = CATALOG.artifact("traefik").expect("traefik");
    let release = traefik.definition.release.as_ref().expect("a release");
    let first = release.files.keys().next().expect("a file");
    let sums = format!("{}  {}\n", digest::of_bytes(b"evil"), first.rsplit('/').next().expect("a name"));
    let files =
        [(format!("/{first}"), b"evil".to_vec()), (traefik.fill(&format!("/{}", release.checksum)), sums.into())];
    let server = start(files.into(), Behaviour::default(), None).await;
    let cache = tempfile::tempdir().expect("a directory");
    let error =
        fetch(cache.path(), &["traefik"], mirror(server.address), Way::Release).await.expect_err("it is pinned");
    assert!(error.message.contains("is not what was published"), "{error}");
    assert_eq!(server.requests.lock().expect("requests").len(), 1, "nobody asked it for a checksum");
    nothing_kept(cache.path());
}

#[tokio::test]
async fn pins_are_the_digests_that_were_published_and_found() {
    let mut files = upstream();
    let sums = format!("{}  runc.arm64\n{}  runc.amd64\n", digest::of_bytes(b"arm"), digest::of_bytes(&fake("runc")));
    let (sums_path, other) =
        (runc_path().replace("runc.amd64", "runc.sha256sum"), runc_path().replace("amd64", "arm64"));
    files.insert(sums_path, sums.into_bytes());
    files.insert(other.clone(), b"arm".to_vec());
    let pin = async |files: Files| {
        let server = start(files, Behaviour::default(), None).await;
        let cache = tempfile::tempdir().expect("a directory");
        let artifacts = Artifacts::open(cache.path(), mirror(server.address)).expect("open");
        let pins = artifacts.pins(&["runc".to_owned()], &Progress::silent()).await;
        nothing_kept(cache.path());
        pins
    };
    let pins = pin(files.clone()).await.expect("pins");
    assert_eq!(pins.of(&runc_path()[1..]), Some(digest::of_bytes(&fake("runc")).as_str()));
    assert_eq!(pins.of(&other[1..]), Some(digest::of_bytes(b"arm").as_str()));
    let gateway = "kubernetes-sigs/gateway-api/";
    assert!(pins.sha256.keys().any(|path| path.starts_with(gateway)), "those of other artifacts stay");
    files.insert(other, b"another".to_vec());
    let error = pin(files).await.expect_err("it is not what was published");
    assert!(error.message.contains("runc.arm64 is not what was published"), "{error}");
}

#[tokio::test]
async fn what_is_not_released_is_named() {
    let mut files = upstream();
    files.remove(&runc_path());
    let server = start(files, Behaviour::default(), None).await;
    let cache = tempfile::tempdir().expect("a directory");
    let error = fetch(cache.path(), &["runc"], mirror(server.address), Way::Release).await.expect_err("404");
    assert!(error.message.contains("404") && error.message.contains("runc.amd64"), "{error}");
    nothing_kept(cache.path());
}

#[tokio::test]
async fn a_cut_connection_is_taken_up_where_it_was() {
    let mut files = upstream();
    let big = vec![7; 300_000];
    let sums = format!("{}  runc.amd64\n", digest::of_bytes(&big));
    files.insert(runc_path().replace("runc.amd64", "runc.sha256sum"), sums.into_bytes());
    files.insert(runc_path(), big.clone());
    let server = start(files, Behaviour { cut_after: Some(100_000), ..Behaviour::default() }, None).await;
    let cache = tempfile::tempdir().expect("a directory");
    let paths = fetch(cache.path(), &["runc"], mirror(server.address), Way::Release).await.expect("fetch");
    assert_eq!(std::fs::read(paths[0].join("bin/runc")).expect("runc"), big);
    let requests = server.requests.lock().expect("requests").clone();
    let last = requests.last().expect("a request");
    assert!(last.starts_with(&format!("{} from ", runc_path())), "{requests:?}");
}

#[tokio::test]
async fn a_killed_download_goes_on_and_an_outdated_part_does_no_harm() {
    let server = start(upstream(), Behaviour::default(), None).await;
    let entry = CATALOG.artifact("runc").expect("runc").entry_name().expect("a name");
    for (part, note) in [(&fake("runc")[..9], "the beginning"), (&b"something quite different"[..], "another file")] {
        let cache = tempfile::tempdir().expect("a directory");
        Artifacts::open(cache.path(), Options::default()).expect("open");
        std::fs::write(cache.path().join(format!("downloads/{entry}-runc.amd64.part")), part).expect("a part");
        let paths = fetch(cache.path(), &["runc"], mirror(server.address), Way::Release).await.expect(note);
        assert_eq!(std::fs::read(paths[0].join("bin/runc")).expect("runc"), fake("runc"), "{note}");
    }
    let requests = server.requests.lock().expect("requests").clone();
    assert!(requests.contains(&format!("{} from 9", runc_path())), "{requests:?}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let silent = start(Files::new(), Behaviour { silent: true, ..Behaviour::default() }, None).await;
    let cache = tempfile::tempdir().expect("a directory");
    let artifact = fetch(cache.path(), &["runc"], mirror(silent.address), Way::Auto);
    tell_why(cache.path(), artifact.await, "no answer within");
}

#[tokio::test]
async fn an_address_that_swallows_packets_is_not_waited_for() {
    let (address, _sockets) = blackhole();
    let cache = tempfile::tempdir().expect("a directory");
    let result = fetch(cache.path(), &["runc"], mirror(address), Way::Auto).await;
    tell_why(cache.path(), result, "");
}

/// Either it was built, as the host can, or the error has both reasons.
fn tell_why(cache: &Path, result: Result<Vec<PathBuf>, Error>, why: &str) {
    match result {
        Ok(paths) => {
            let manifest = std::fs::read_to_string(paths[0].join("manifest.json")).expect("manifest");
            assert!(manifest.contains("\"way\": \"build\""), "{manifest}");
        }
        Err(error) => {
            assert!(error.message.contains("can neither be downloaded"), "{error}");
            assert!(error.message.contains(why), "{error}");
            nothing_kept(cache);
        }
    }
}

/// A port on loopback whose queue of connections is full: the kernel drops what else comes.
fn blackhole() -> (String, Vec<OwnedFd>) {
    let new = || socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None);
    let listener = new().expect("a socket");
    bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("bind");
    listen(&listener, Backlog::new(0).expect("a backlog")).expect("listen");
    let address: SockaddrIn = getsockname(listener.as_raw_fd()).expect("an address");
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let client = new().expect("a socket");
        // In progress, for ever.
        let _ = connect(client.as_raw_fd(), &address);
        sockets.push(client);
    }
    (address.to_string(), sockets)
}

/// Returns the keeper of a server's TLS, and the certificate of its own authority in PEM.
fn tls() -> (TlsAcceptor, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&key).expect("a certificate");
    let issuer = rcgen::Issuer::new(parameters, key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .and_then(|parameters| parameters.signed_by(&key, &issuer))
        .expect("a certificate");
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
        .expect("a configuration");
    (TlsAcceptor::from(Arc::new(config)), authority.pem())
}

#[tokio::test]
async fn nothing_leads_from_https_to_http() {
    let plain = start(upstream(), Behaviour::default(), None).await;
    let (acceptor, authority) = tls();
    let redirect = Some(format!("http://{}", plain.address));
    let server = start(Files::new(), Behaviour { redirect, ..Behaviour::default() }, Some(acceptor)).await;
    let cache = tempfile::tempdir().expect("a directory");
    let others = tempfile::tempdir().expect("a directory");
    let file = others.path().join("ca.pem");
    std::fs::write(&file, authority).expect("the authority's file");
    let options = Options { mirror: Some(format!("https://{}", server.address)), ca_file: Some(file) };
    let error = fetch(cache.path(), &["runc"], options, Way::Release).await.expect_err("it is refused");
    assert!(error.message.contains("from HTTPS to http://"), "{error}");
    assert!(plain.requests.lock().expect("requests").is_empty());
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_named() {
    let (acceptor, authority) = tls();
    let server = start(upstream(), Behaviour::default(), Some(acceptor)).await;
    let (cache, others) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let file = others.path().join("ca.pem");
    std::fs::write(&file, authority).expect("the authority's file");
    let url = format!("https://{}", server.address);

    let options = Options { mirror: Some(url.clone()), ca_file: None };
    let error = fetch(cache.path(), &["runc"], options, Way::Release).await.expect_err("nobody vouches for it");
    assert!(error.message.contains("certificate"), "{error}");

    let options = Options { mirror: Some(url.clone()), ca_file: Some(file.clone()) };
    fetch(cache.path(), &["runc"], options, Way::Release).await.expect("fetch");

    std::fs::write(&file, "not a certificate").expect("the authority's file");
    let options = Options { mirror: Some(url), ca_file: Some(file.clone()) };
    let error = fetch(cache.path(), &["cni-plugins"], options, Way::Release).await.expect_err("no certificate in it");
    assert_eq!(error.id, Id::FlagInvalid);
    assert!(error.message.contains(&file.display().to_string()), "{error}");
}

#[tokio::test]
async fn a_mirror_that_is_no_address_is_told() {
    let cache = tempfile::tempdir().expect("a directory");
    let options = Options { mirror: Some("mirror.example.com".into()), ca_file: None };
    let error = Artifacts::open(cache.path(), options).expect_err("no address");
    assert_eq!(error.id, Id::FlagInvalid);
    assert!(error.message.contains("mirror.example.com"), "{error}");
}

/// The command itself, as the variables for proxies and `PATH` are a process's.
fn kcl(home: &Path) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::cargo_bin("kcl").expect("kcl is built");
    command.env("KCL_HOME", home.join("home")).env("KCL_CACHE", home.join("cache"));
    for name in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"] {
        command.env_remove(name);
    }
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_asked_where_the_environment_names_one() {
    let proxy = start(upstream(), Behaviour::default(), None).await;
    let home = tempfile::tempdir().expect("a directory");
    let mut command = kcl(home.path());
    command.env("HTTP_PROXY", format!("http://{}", proxy.address));
    command.args(["artifacts", "fetch", "--from", "release", "--binary-mirror", "http://mirror.invalid"]);
    let output = tokio::task::spawn_blocking(move || command.output().expect("kcl runs")).await.expect("a task");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("etcd") && text.contains("404"), "etcd is the first that the proxy does not have: {text}");
    assert!(text.contains("no digests of Kubernetes") && text.contains("so it is trusted"), "{text}");
    let requests = proxy.requests.lock().expect("requests").clone();
    assert!(requests.iter().any(|url| url.starts_with("http://mirror.invalid/v") && url.ends_with("/kubelet")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_nobody_released_leads_to_those_that_exist() {
    let server = start(upstream(), Behaviour::default(), None).await;
    let home = tempfile::tempdir().expect("a directory");
    let mut command = kcl(home.path());
    command.args(["artifacts", "fetch", "--from", "release", "--kubernetes-version", "1.36.99"]);
    command.args(["--binary-mirror", &format!("http://{}", server.address)]);
    let output = tokio::task::spawn_blocking(move || command.output().expect("kcl runs")).await.expect("a task");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(i32::from(Id::ArtifactDownload.exit_code())), "{text}");
    for part in ["Kubernetes 1.36.99", "404", "`kcl version` lists", "1.35"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_way_is_open_both_reasons_are_told() {
    let home = tempfile::tempdir().expect("a directory");
    let mut command = kcl(home.path());
    command.env("PATH", "/nonexistent");
    // A port that nobody listens on: it was ours a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    command.args(["artifacts", "fetch", "--binary-mirror", &format!("http://{free}")]);
    let output = tokio::task::spawn_blocking(move || command.output().expect("kcl runs")).await.expect("a task");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(i32::from(Id::ArtifactUnavailable.exit_code())), "{text}");
    for part in ["can neither be downloaded", "refused", "this host lacks: go", "mmdebstrap", "bundle"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
