//! A connection to a host: reached, known, logged in.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kcl_driver_api::{Error, ErrorKind, Result};
use russh::client::{self, Handle};
use russh::keys::agent::client::AgentClient;
use russh::keys::{self, PublicKeyOrCertificate};
use russh::keys::{Algorithm, PrivateKeyWithHashAlg, PublicKey, load_secret_key};
use tokio::net::TcpStream;

use crate::known_hosts::KnownHosts;
use crate::route::Hop;
use crate::target::Place;

/// How long a host may take to answer at all.
const REACH: Duration = Duration::from_secs(15);
/// A connection on which nothing comes is asked whether it lives, so often, and given up after [`KEEPALIVES`].
const KEEPALIVE: Duration = Duration::from_secs(5);
const KEEPALIVES: usize = 3;

/// Keys that ssh(1) takes by itself, below `~/.ssh`.
const USUAL_KEYS: &[&str] = &["id_ed25519", "id_ecdsa", "id_rsa"];

/// Who logs in, and how it is known who answers.
#[derive(Clone)]
pub(crate) struct Identity {
    /// `~/.ssh`.
    pub ssh: Option<PathBuf>,
    /// The socket of an SSH agent.
    pub agent: Option<PathBuf>,
    /// Who logs in where nothing else is said.
    pub user: String,
    /// What sudo asks for; none: who sits at the terminal is asked.
    pub sudo_password: Option<String>,
    /// Keys of hosts.
    pub known_hosts: KnownHosts,
}

/// Checks the key of a host.
pub(crate) struct Client {
    known_hosts: KnownHosts,
    place: Place,
}

/// What ends a connection: SSH itself, or our own check.
#[derive(Debug)]
pub(crate) enum Broken {
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
        self.known_hosts.check(&self.place.address, self.place.port(), &key).await.map(|()| true).map_err(Broken::Ours)
    }
}

/// Logs in at the last host of a way, through those before it.
pub(crate) async fn connect(route: &[Hop], identity: &Identity) -> Result<Handle<Client>> {
    let no_way = || Error::new(ErrorKind::Host, "a way to no host");
    let (first, rest) = route.split_first().ok_or_else(no_way)?;
    let mut handle = log_in(reach(&first.place).await?, first, identity).await?;
    let mut through = &first.place;
    for hop in rest {
        let place = &hop.place;
        let channel = handle.channel_open_direct_tcpip(place.address.clone(), place.port().into(), "127.0.0.1", 0);
        let channel =
            channel.await.map_err(|error| unreachable(place, &format!("{through} does not reach it: {error}")))?;
        handle = log_in(channel.into_stream(), hop, identity).await?;
        through = place;
    }
    Ok(handle)
}

async fn reach(place: &Place) -> Result<TcpStream> {
    let stream = tokio::time::timeout(REACH, TcpStream::connect((place.address.as_str(), place.port()))).await;
    let stream = stream.map_err(|_| unreachable(place, &format!("it does not answer within {} s", REACH.as_secs())))?;
    let stream = stream.map_err(|error| unreachable(place, &error.to_string()))?;
    // Requests are short, and each waits for its answer.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn unreachable(place: &Place, why: &str) -> Error {
    Error::new(ErrorKind::Host, format!("host {place} cannot be reached at port {}: {why}", place.port()))
        .hint(format!("see what is in the way with: ssh -v -p {} {}", place.port(), user_and_address(place)))
}

fn user_and_address(place: &Place) -> String {
    Place { port: None, ..place.clone() }.to_string()
}

async fn log_in<S>(stream: S, hop: &Hop, identity: &Identity) -> Result<Handle<Client>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let place = &hop.place;
    let client = Client { known_hosts: identity.known_hosts.clone(), place: place.clone() };
    let config = Arc::new(config(&identity.known_hosts.algorithms(&place.address, place.port())));
    let shaken = tokio::time::timeout(REACH * 8, client::connect_stream(config, stream, client)).await;
    let shaken = shaken.map_err(|_| unreachable(place, "it does not speak SSH"))?;
    let mut handle = shaken.map_err(|broken| match broken {
        Broken::Ours(error) => error,
        Broken::Ssh(error) => unreachable(place, &error.to_string()),
    })?;
    let tried = authenticate(&mut handle, hop, identity).await?;
    if let Some(tried) = tried {
        let user = &hop.user;
        let message = format!("host {place} lets {user} in by none of: {tried}");
        let hint = format!(
            "name a key with --ssh-key, or let one in with: ssh-copy-id -p {} {user}@{}",
            place.port(),
            place.address
        );
        return Err(Error::new(ErrorKind::Host, message).hint(hint));
    }
    Ok(handle)
}

fn config(known: &[Algorithm]) -> client::Config {
    let mut config =
        client::Config { keepalive_interval: Some(KEEPALIVE), keepalive_max: KEEPALIVES, ..client::Config::default() };
    // First a kind of key that is known of this host: with another it would look like a stranger.
    let mut kinds: Vec<Algorithm> = config.preferred.key.to_vec();
    kinds.sort_by_key(|kind| !known.iter().any(|known| same_kind(known, kind)));
    config.preferred.key = Cow::Owned(kinds);
    config
}

/// RSA keys are of one kind, whatever digest they sign with.
fn same_kind(a: &Algorithm, b: &Algorithm) -> bool {
    a == b || (matches!(a, Algorithm::Rsa { .. }) && matches!(b, Algorithm::Rsa { .. }))
}

/// Tries keys one after the other. None where one was taken, else what was tried.
async fn authenticate(handle: &mut Handle<Client>, hop: &Hop, identity: &Identity) -> Result<Option<String>> {
    let Hop { place, user, .. } = hop;
    let mut tried = Vec::new();
    let broken = |error: russh::Error| unreachable(place, &error.to_string());
    let usual = USUAL_KEYS.iter().filter_map(|name| Some(identity.ssh.as_ref()?.join(name)));
    let files: Vec<PathBuf> = match hop.keys.as_slice() {
        [] => usual.filter(|path| path.exists()).collect(),
        named => named.to_vec(),
    };
    for path in files {
        let key = match load_secret_key(&path, None) {
            Ok(key) => key,
            Err(keys::Error::KeyIsEncrypted) => {
                tried.push(format!("{} (it has a passphrase: load it with ssh-add)", path.display()));
                continue;
            }
            Err(error) => {
                tried.push(format!("{} ({error})", path.display()));
                continue;
            }
        };
        let hash = handle.best_supported_rsa_hash().await.map_err(broken)?.flatten();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        if handle.authenticate_publickey(user, key).await.map_err(broken)?.success() {
            return Ok(None);
        }
        tried.push(path.display().to_string());
    }
    if let Some(socket) = &identity.agent {
        match by_agent(handle, user, socket).await {
            Ok(true) => return Ok(None),
            Ok(false) => tried.push("the keys of the SSH agent".to_owned()),
            Err(error) => tried.push(format!("the SSH agent at {} ({error})", socket.display())),
        }
    }
    if tried.is_empty() {
        tried.push(
            "the keys of an SSH agent (there is none), and the usual ones below ~/.ssh (there are none)".to_owned(),
        );
    }
    Ok(Some(tried.join(", ")))
}

async fn by_agent(
    handle: &mut Handle<Client>,
    user: &str,
    socket: &std::path::Path,
) -> std::result::Result<bool, String> {
    let mut agent = AgentClient::connect_uds(socket).await.map_err(|error| error.to_string())?;
    let identities = agent.request_identities().await.map_err(|error| error.to_string())?;
    for identity in identities {
        let hash = handle.best_supported_rsa_hash().await.map_err(|error| error.to_string())?.flatten();
        let key = identity.public_key().into_owned();
        let tried = handle.authenticate_publickey_with(user, key, hash, &mut agent).await;
        if tried.map_err(|error| error.to_string())?.success() {
            return Ok(true);
        }
    }
    Ok(false)
}
