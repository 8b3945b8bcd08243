//! The cluster that a console shows.

/// The cluster that is shown, and the credentials of the user whose console it is.
pub struct Cluster {
    /// The cluster's name.
    pub name: String,
    /// The URL of the API server: `https://host:port`.
    pub server: String,
    /// The CA of the API server, as PEM.
    pub ca_pem: String,
    /// The client certificate, as PEM.
    pub cert_pem: String,
    /// The key of the client certificate, as PEM.
    pub key_pem: String,
    /// The version of kcl, which the page shows.
    pub kcl_version: String,
}
