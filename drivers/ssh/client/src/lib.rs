//! The SSH client of drivers: reaches a host, checks its key against `known_hosts`, and logs in by keys.

mod known_hosts;
mod login;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use kcl_driver_api::Error;
use russh::client;
use russh::keys::{Algorithm, PublicKey, PublicKeyOrCertificate};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub use known_hosts::{KnownHosts, PORT, Unknown};
pub use login::{authenticate, usual_keys};

/// The time that a host may take to answer at all.
const REACH: Duration = Duration::from_secs(15);

/// The time that the handshake may take, with a question to the user about a new host.
const HANDSHAKE: Duration = Duration::from_secs(120);

/// The interval at which a silent connection is probed; it is given up after [`KEEPALIVES`] probes without an answer.
const KEEPALIVE: Duration = Duration::from_secs(5);
const KEEPALIVES: usize = 3;

/// A connection to a host.
pub type Handle = client::Handle<Client>;

/// The reason why there is no connection.
#[derive(Debug)]
pub enum Failure {
    /// The host cannot be reached, or does not speak SSH.
    Unreachable(String),
    /// The host's key was not accepted.
    Refused(Error),
}

impl From<russh::Error> for Failure {
    fn from(error: russh::Error) -> Self {
        Failure::Unreachable(error.to_string())
    }
}

/// Checks the key of a host.
pub struct Client {
    known_hosts: KnownHosts,
    address: String,
    port: u16,
}

impl client::Handler for Client {
    type Error = Failure;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Failure> {
        let key: PublicKey = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.clone(),
            PublicKeyOrCertificate::Certificate(certificate) => certificate.public_key().clone().into(),
        };
        self.known_hosts.check(&self.address, self.port, &key).await.map(|()| true).map_err(Failure::Refused)
    }
}

/// Opens a TCP connection to a host.
///
/// # Errors
/// `Unreachable` if the host does not answer in time.
pub async fn reach(address: &str, port: u16) -> Result<TcpStream, Failure> {
    let stream = tokio::time::timeout(REACH, TcpStream::connect((address, port))).await;
    let late = |_| Failure::Unreachable(format!("it does not answer within {} s", REACH.as_secs()));
    let stream = stream.map_err(late)?.map_err(|error| Failure::Unreachable(error.to_string()))?;
    // Requests are short, and each waits for its answer.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Shakes hands with a host over a stream, and checks the host's key.
///
/// # Errors
/// `Unreachable` if the host does not speak SSH, `Refused` if its key is not accepted.
pub async fn connect<S>(stream: S, address: &str, port: u16, known_hosts: &KnownHosts) -> Result<Handle, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let client = Client { known_hosts: known_hosts.clone(), address: address.to_owned(), port };
    let config = Arc::new(config(&known_hosts.algorithms(address, port)));
    let shaken = tokio::time::timeout(HANDSHAKE, client::connect_stream(config, stream, client)).await;
    shaken.map_err(|_| Failure::Unreachable("it does not speak SSH".to_owned()))?
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

/// Compares two kinds of keys; RSA keys are of one kind, whatever digest they sign with.
fn same_kind(a: &Algorithm, b: &Algorithm) -> bool {
    a == b || (matches!(a, Algorithm::Rsa { .. }) && matches!(b, Algorithm::Rsa { .. }))
}
