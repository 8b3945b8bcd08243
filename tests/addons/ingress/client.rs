//! An HTTP client that finds every host at one address.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::eventually;

/// It trusts one CA and follows no redirects.
pub(crate) struct Client {
    ca: String,
    http: SocketAddr,
    https: SocketAddr,
}

/// The answer of a server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub location: Option<String>,
    /// The trimmed body.
    pub body: String,
}

impl Client {
    pub(crate) fn new(ca: &str, http: SocketAddr, https: SocketAddr) -> Self {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client { ca: ca.to_owned(), http, https }
    }

    /// One that trusts another certificate.
    pub(crate) fn trusting(&self, ca: &str) -> Self {
        Client::new(ca, self.http, self.https)
    }

    /// Asks for `url`, whose host need not exist.
    pub(crate) fn try_get(&self, url: &str) -> Result<Answer, String> {
        let url: reqwest::Url = url.parse().expect("a URL");
        let host = url.host_str().expect("a host").to_owned();
        let address = if url.scheme() == "https" { self.https } else { self.http };
        let certificate = reqwest::Certificate::from_pem(self.ca.as_bytes()).expect("a CA");
        let client = reqwest::Client::builder()
            .tls_certs_only([certificate])
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .resolve(&host, address)
            .build()
            .expect("a client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let answer = client.get(url).send().await.map_err(|error| format!("{error:?}"))?;
            let location = answer.headers().get("location").and_then(|value| value.to_str().ok()).map(str::to_owned);
            let status = answer.status().as_u16();
            let body = answer.text().await.map_err(|error| format!("{error:?}"))?;
            Ok(Answer { status, location, body: body.trim().to_owned() })
        })
    }

    /// [`Self::try_get`], which has to be answered.
    #[track_caller]
    pub(crate) fn get(&self, url: &str) -> Answer {
        self.try_get(url).unwrap_or_else(|why| panic!("{url}: {why}"))
    }

    /// Asks until the route is there.
    #[track_caller]
    pub(crate) fn until(&self, url: &str, body: &str) {
        eventually(&format!("{url} answers {body:?}"), || match self.try_get(url)? {
            answer if answer.status == 200 && answer.body == body => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
}
