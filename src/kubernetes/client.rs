//! A connection to a cluster's API with a client certificate.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::{Client, Config};

use crate::error::{Error, Family, Result};
use crate::pki::AdminCredentials;

/// Where an API is and who asks.
#[derive(Clone)]
pub struct Access {
    /// `https://ADDRESS:PORT`.
    pub server: String,
    /// Who asks, and whom to trust.
    pub credentials: AdminCredentials,
}

/// A client. Nothing is sent yet.
pub fn connect(access: &Access) -> Result<Client> {
    let unusable = |error: &dyn std::fmt::Display| {
        Error::new(Family::Internal, format!("the cluster's credentials are not usable: {error}"))
    };
    let url = access.server.parse().map_err(|error| unusable(&error))?;
    let mut config = Config::new(url);
    let ca = pem::parse(&access.credentials.ca_pem).map_err(|error| unusable(&error))?;
    config.root_cert = Some(vec![ca.into_contents()]);
    // The TLS handshake is in it, which an emulated control plane at its start takes seconds for.
    config.connect_timeout = Some(Duration::from_secs(20));
    config.auth_info.client_certificate_data = Some(STANDARD.encode(&access.credentials.cert_pem));
    config.auth_info.client_key_data = Some(STANDARD.encode(&access.credentials.key_pem).into());
    Client::try_from(config).map_err(|error| unusable(&error))
}

/// Whether the API server says that it is ready (`/readyz`).
pub async fn ready(client: &Client) -> bool {
    let Ok(request) = http_get("/readyz") else { return false };
    client.request_text(request).await.is_ok()
}

fn http_get(path: &str) -> std::result::Result<http::Request<Vec<u8>>, http::Error> {
    http::Request::get(path).body(Vec::new())
}
