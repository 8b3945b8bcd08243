//! An engine on a host that is reached over SSH: each request goes through a channel of its own to the engine's socket
//! there (`direct-streamlocal@openssh.com`, PROTOCOL of OpenSSH, 2.4). Nothing is run on either host.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use http::header::HOST;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kcl_driver_api::{Error, ErrorKind, Result};
use russh::client::{self, Handle};
use russh::keys::agent::client::AgentClient;
use russh::keys::known_hosts::check_known_hosts_path;
use russh::keys::{PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate, load_secret_key};

use crate::endpoint::SshHost;

/// A connection on which nothing comes is asked whether it lives, so often.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Keys that ssh(1) takes by itself, below `~/.ssh`.
const USUAL_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Checks the key of a host against `~/.ssh/known_hosts`.
struct Client {
    host: SshHost,
    known_hosts: PathBuf,
}

/// What ends a connection: SSH itself, or our own check.
#[derive(Debug)]
enum Broken {
    Ssh(russh::Error),
    Ours(Error),
}

impl From<russh::Error> for Broken {
    fn from(error: russh::Error) -> Self {
        Broken::Ssh(error)
    }
}

impl client::Handler for Client {
    type Error = Broken;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> std::result::Result<bool, Broken> {
        let key: PublicKey = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.clone(),
            PublicKeyOrCertificate::Certificate(certificate) => certificate.public_key().clone().into(),
        };
        let (host, port) = (&self.host.host, self.host.port);
        let refuse = |why: String| Error::new(ErrorKind::Conflict, format!("the host {host}, port {port}, {why}"));
        match check_known_hosts_path(host, port, &key, &self.known_hosts) {
            Ok(true) => Ok(true),
            Ok(false) => Err(Broken::Ours(
                refuse("is not known".to_owned())
                    .hint(format!("compare and keep its key with: ssh -p {port} {}", self.host.login())),
            )),
            Err(russh::keys::Error::KeyChanged { line }) => Err(Broken::Ours(refuse(format!(
                "has another key than in line {line} of {}: somebody may be in between",
                self.known_hosts.display()
            )))),
            Err(error) => Err(Broken::Ours(refuse(format!("cannot be checked: {error}")))),
        }
    }
}

impl SshHost {
    fn login(&self) -> String {
        match &self.user {
            Some(user) => format!("{user}@{}", self.host),
            None => self.host.clone(),
        }
    }
}

/// The API of the engine there.
pub(crate) async fn connect(host: &SshHost, answer: u64) -> Result<Docker> {
    let handle = Arc::new(log_in(host).await?);
    let socket = host.socket.to_string_lossy().into_owned();
    let transport = move |request| request_over(handle.clone(), socket.clone(), request);
    Docker::connect_with_custom_transport(transport, Some("http://docker"), answer, API_DEFAULT_VERSION)
        .map_err(|error| failed(host, &error.to_string()))
}

fn failed(host: &SshHost, why: &str) -> Error {
    Error::new(ErrorKind::Host, format!("could not connect to {} at port {}: {why}", host.login(), host.port))
        .hint(format!("see what is in the way with: ssh -v -p {} {}", host.port, host.login()))
}

/// One request on a channel of its own.
async fn request_over(
    handle: Arc<Handle<Client>>,
    socket: String,
    mut request: BollardRequest,
) -> std::result::Result<http::Response<hyper::body::Incoming>, bollard::errors::Error> {
    let broken = |error: russh::Error| std::io::Error::other(format!("{socket} cannot be reached there: {error}"));
    let channel = handle.channel_open_direct_streamlocal(&*socket).await.map_err(broken)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(channel.into_stream())).await?;
    // An upgraded connection, of a command with its streams, goes on after the answer.
    tokio::spawn(connection.with_upgrades());
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = path.parse()?;
    request.headers_mut().insert(HOST, http::HeaderValue::from_static("docker"));
    Ok(sender.send_request(request).await?)
}

async fn log_in(host: &SshHost) -> Result<Handle<Client>> {
    let home = std::env::home_dir().unwrap_or_else(|| PathBuf::from("/"));
    let client = Client { host: host.clone(), known_hosts: home.join(".ssh/known_hosts") };
    let config = client::Config { keepalive_interval: Some(KEEPALIVE), nodelay: true, ..client::Config::default() };
    let connected = client::connect(Arc::new(config), (host.host.as_str(), host.port), client).await;
    let mut handle = connected.map_err(|broken| match broken {
        Broken::Ours(error) => error,
        Broken::Ssh(error) => failed(host, &error.to_string()),
    })?;
    let user = host.user.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "root".to_owned());
    let let_in = async {
        let hash = handle.best_supported_rsa_hash().await?.flatten();
        if let Some(socket) = std::env::var_os("SSH_AUTH_SOCK")
            && by_agent(&mut handle, &user, Path::new(&socket)).await.unwrap_or(false)
        {
            return Ok(true);
        }
        for path in USUAL_KEYS.map(|name| home.join(".ssh").join(name)) {
            // One that is not there, or has a passphrase: the agent has that.
            let Ok(key) = load_secret_key(&path, None) else { continue };
            let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
            if handle.authenticate_publickey(&user, key).await?.success() {
                return Ok(true);
            }
        }
        Ok(false)
    }
    .await;
    match let_in.map_err(|error: russh::Error| failed(host, &error.to_string()))? {
        true => Ok(handle),
        false => {
            let message = format!("the host {} lets {user} in by no key of the SSH agent or of ~/.ssh", host.host);
            Err(Error::new(ErrorKind::Host, message).hint(format!(
                "let one in with: ssh-copy-id -p {} {}",
                host.port,
                host.login()
            )))
        }
    }
}

async fn by_agent(handle: &mut Handle<Client>, user: &str, socket: &Path) -> Option<bool> {
    let mut agent = AgentClient::connect_uds(socket).await.ok()?;
    for identity in agent.request_identities().await.ok()? {
        let hash = handle.best_supported_rsa_hash().await.ok()?.flatten();
        let key = identity.public_key().into_owned();
        if handle.authenticate_publickey_with(user, key, hash, &mut agent).await.ok()?.success() {
            return Some(true);
        }
    }
    Some(false)
}
