//! The connection to the API server, with the credentials of one user only.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::answer::Body;
use crate::cluster::Cluster;
use crate::identity::Identity;

type Https = Client<HttpsConnector<HttpConnector>, Body>;

/// Connections to one API server. HTTP/1.1, as channels (WebSocket) need.
pub(crate) struct Upstream {
    /// The URL of the API server: `https://host:port`.
    server: String,
    /// The client that authenticates with the certificate of the kubeconfig's user.
    own: Https,
    /// The client without a certificate: requests with a token must not get the certificate's rights.
    bare: Https,
}

impl Upstream {
    /// Returns the connection to a cluster's API server. Nothing is sent yet. Errors name the unusable credential.
    pub(crate) fn new(cluster: &Cluster) -> Result<Self, String> {
        let unusable =
            |what: &str, error: &dyn std::fmt::Display| format!("the cluster's {what} is not usable: {error}");
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(cluster.ca_pem.as_bytes()) {
            let certificate = certificate.map_err(|error| unusable("CA", &error))?;
            roots.add(certificate).map_err(|error| unusable("CA", &error))?;
        }
        let chain: Vec<_> = CertificateDer::pem_slice_iter(cluster.cert_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| unusable("client certificate", &error))?;
        let key = PrivateKeyDer::from_pem_slice(cluster.key_pem.as_bytes())
            .map_err(|error| unusable("client key", &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = || {
            let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
            builder.map(|builder| builder.with_root_certificates(roots.clone())).map_err(|error| unusable("CA", &error))
        };
        let own = config()?.with_client_auth_cert(chain, key).map_err(|error| unusable("client key", &error))?;
        Ok(Upstream { server: cluster.server.clone(), own: client(own), bare: client(config()?.with_no_client_auth()) })
    }

    /// Returns the URL of the API server.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Sends a request as `identity`. The request must not have headers that name a user.
    pub(crate) async fn send(
        &self,
        identity: &Identity,
        path_and_query: &str,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, String> {
        let uri = format!("{}{path_and_query}", self.server);
        *request.uri_mut() = uri.parse::<Uri>().map_err(|error| format!("{uri}: {error}"))?;
        authenticate(identity, request.headers_mut())?;
        let client = if matches!(identity, Identity::Token(_)) { &self.bare } else { &self.own };
        client.request(request).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("the API server {} does not answer: {error}{cause}", self.server)
        })
    }
}

fn client(config: ClientConfig) -> Https {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let https = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().wrap_connector(http);
    Client::builder(TokioExecutor::new()).build(https)
}

/// Sets the headers that name the user.
fn authenticate(identity: &Identity, headers: &mut HeaderMap) -> Result<(), String> {
    let value =
        |text: &str, what: &str| HeaderValue::from_str(text).map_err(|_| format!("the {what} has invalid characters"));
    match identity {
        Identity::Own => {}
        Identity::Token(token) => {
            let mut bearer = value(&format!("Bearer {token}"), "token")?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        Identity::As { user, groups } => {
            headers.insert(HeaderName::from_static("impersonate-user"), value(user, "user name")?);
            for group in groups {
                headers.append(HeaderName::from_static("impersonate-group"), value(group, "group name")?);
            }
        }
    }
    Ok(())
}
