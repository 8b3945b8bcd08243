//! A connection to a cluster's API with a client certificate.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::{Client, Config};

use crate::error::{Error, Family, Result};
use crate::pki::AdminCredentials;

/// The address of an API, and the credentials for it.
#[derive(Clone)]
pub struct Access {
    /// `https://ADDRESS:PORT`.
    pub server: String,
    /// The client's certificate and key, and the CA to trust.
    pub credentials: AdminCredentials,
}

/// Returns a client. It sends nothing yet.
pub fn connect(access: &Access) -> Result<Client> {
    let unusable = |error: &dyn std::fmt::Display| {
        Error::new(Family::Internal, format!("the cluster's credentials are not usable: {error}"))
    };
    let url = access.server.parse().map_err(|error| unusable(&error))?;
    let mut config = Config::new(url);
    let ca = pem::parse(&access.credentials.ca_pem).map_err(|error| unusable(&error))?;
    config.root_cert = Some(vec![ca.into_contents()]);
    // This includes the TLS handshake, which takes an emulated control plane seconds at its start.
    config.connect_timeout = Some(Duration::from_secs(20));
    config.auth_info.client_certificate_data = Some(STANDARD.encode(&access.credentials.cert_pem));
    config.auth_info.client_key_data = Some(STANDARD.encode(&access.credentials.key_pem).into());
    Client::try_from(config).map_err(|error| unusable(&error))
}

/// Returns true if the API server reports that it is ready (`/readyz`).
pub async fn ready(client: &Client) -> bool {
    let Ok(request) = http_get("/readyz") else { return false };
    client.request_text(request).await.is_ok()
}

fn http_get(path: &str) -> std::result::Result<http::Request<Vec<u8>>, http::Error> {
    http::Request::get(path).body(Vec::new())
}
