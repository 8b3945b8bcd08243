//! A connection to a cluster's API with a client certificate.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::{Client, Config};

use crate::error::{Error, Id, Result};

/// An API server and the credentials for it.
#[derive(Clone)]
pub struct Access {
    /// The URL of the API server: `https://ADDRESS:PORT`.
    pub server: String,
    /// The credentials of the client.
    pub credentials: Credentials,
}

/// The client certificate of a user, and the CA of the API server, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The cluster's CA; during a rotation also the one before.
    pub ca_pem: String,
    /// The client certificate.
    pub cert_pem: String,
    /// The key of the client certificate.
    pub key_pem: String,
}

/// Leaves out the contents, as a key must not get into logs.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Returns a client. Nothing is sent yet.
pub fn connect(access: &Access) -> Result<Client> {
    let unusable = |error: &dyn std::fmt::Display| {
        Error::new(Id::Internal, format!("the cluster's credentials are not usable: {error}"))
    };
    let url = access.server.parse().map_err(|error| unusable(&error))?;
    let mut config = Config::new(url);
    let cas = pem::parse_many(&access.credentials.ca_pem).map_err(|error| unusable(&error))?;
    config.root_cert = Some(cas.into_iter().map(pem::Pem::into_contents).collect());
    // This includes the TLS handshake, which takes an emulated control plane seconds at its start.
    config.connect_timeout = Some(Duration::from_secs(20));
    config.auth_info.client_certificate_data = Some(STANDARD.encode(&access.credentials.cert_pem));
    config.auth_info.client_key_data = Some(STANDARD.encode(&access.credentials.key_pem).into());
    Client::try_from(config).map_err(|error| unusable(&error))
}

/// Returns true if the API server reports within a moment that it is ready. One that has to be waited for does not serve.
pub async fn serves(client: &Client) -> bool {
    tokio::time::timeout(Duration::from_secs(5), ready(client)).await.unwrap_or(false)
}

/// Returns true if the API server reports that it is ready (`/readyz`).
pub async fn ready(client: &Client) -> bool {
    let Ok(request) = http_get("/readyz") else { return false };
    client.request_text(request).await.is_ok()
}

fn http_get(path: &str) -> std::result::Result<http::Request<Vec<u8>>, http::Error> {
    http::Request::get(path).body(Vec::new())
}
