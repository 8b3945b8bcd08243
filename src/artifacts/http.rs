//! Downloads over HTTP that can be resumed, through proxies and with a private certificate authority.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, Response, StatusCode};

use super::cache::trouble;
use super::space;
use super::want::Options;
use crate::error::{Error, Id, Result};

/// The reason why a download failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server is unreachable or does not work.
    Unreachable(String),
    /// The server does not have the file.
    Absent(String),
    /// Any other error, after which no other source is tried.
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

/// An HTTP client.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client,
    answer: Duration,
}

/// The maximum size of a file in bytes. The largest are those of Kubernetes, with a tenth of it.
const LARGEST: u64 = 4 << 30;

/// The maximum size of a checksum file in bytes.
const TEXT_LIMIT: usize = 1 << 20;

impl Http {
    /// Creates a client, with short time limits for connecting if there is another source (`hasty`).
    ///
    /// # Errors
    /// `Usage` for an invalid file of authorities.
    pub(super) fn new(options: &Options, hasty: bool) -> Result<Http> {
        // It fails if a provider is installed already, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (connect, answer) = if hasty { (3, 5) } else { (15, 60) };
        let mut builder = Client::builder()
            .user_agent(concat!("kcl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(connect))
            .https_only(!options.mirror.as_deref().is_some_and(|mirror| mirror.starts_with("http://")))
            .redirect(Policy::custom(follow))
            .read_timeout(Duration::from_secs(30));
        if let Some(path) = &options.ca_file {
            let bad = |why: String| {
                Error::new(Id::FlagInvalid, format!("the CA file {} cannot be used: {why}", path.display()))
                    .hint("it must contain certificates in PEM, each between BEGIN CERTIFICATE and END CERTIFICATE")
            };
            let text = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&text).map_err(|error| bad(error.to_string()))?;
            if certificates.is_empty() {
                return Err(bad("there is no certificate in it".into()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let client = builder.build().map_err(|error| {
            Error::new(Id::HostFailed, format!("the HTTP client cannot be set up: {}", causes(&error)))
        })?;
        Ok(Http { client, answer: Duration::from_secs(answer) })
    }

    async fn get(&self, url: &str, from: u64) -> std::result::Result<Response, Failure> {
        let mut request = self.client.get(url);
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let answered = tokio::time::timeout(self.answer, request.send()).await;
        let response = answered
            .map_err(|_| Failure::Unreachable(format!("{url}: no answer within {} s", self.answer.as_secs())))?
            .map_err(|error| Failure::Unreachable(format!("{url}: {}", causes(&error))))?;
        match response.status() {
            status if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
            status @ (StatusCode::NOT_FOUND | StatusCode::GONE) => {
                Err(Failure::Absent(format!("{url}: the server answers {status}")))
            }
            status => Err(Failure::Unreachable(format!("{url}: the server answers {status}"))),
        }
    }

    /// Downloads a small text.
    pub(super) async fn text(&self, url: &str) -> std::result::Result<String, Failure> {
        let mut body = self.get(url, 0).await?.bytes_stream();
        let mut bytes = Vec::new();
        while let Some(part) = body.next().await {
            bytes.extend_from_slice(&part.map_err(|error| Failure::Unreachable(format!("{url}: {}", causes(&error))))?);
            if bytes.len() > TEXT_LIMIT {
                return Err(
                    Error::new(Id::ArtifactDownload, format!("{url} is larger than a checksum file can be")).into()
                );
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Downloads a file to `part`, and resumes if a part of it exists. A lost connection is retried as long as each
    /// delivers some bytes. `tell` receives the number of bytes so far, and the total if it is known.
    pub(super) async fn download(
        &self,
        url: &str,
        part: &Path,
        tell: impl Fn(u64, Option<u64>),
    ) -> std::result::Result<(), Failure> {
        let failed = |error| Failure::Error(trouble("write", part, error));
        loop {
            let before = std::fs::metadata(part).map_or(0, |metadata| metadata.len());
            let response = self.get(url, before).await?;
            let mut file = std::fs::File::options().append(true).create(true).open(part).map_err(failed)?;
            let mut there = before;
            if before > 0 && !resumes(&response, before) {
                // The file has changed, or the server cannot resume.
                file.set_len(0).map_err(failed)?;
                there = 0;
                if response.status() != StatusCode::OK {
                    continue;
                }
            }
            let begun = there;
            let total = response.content_length().map(|length| there.saturating_add(length));
            let large = || {
                let message = format!("{url} is larger than {} MiB, as no artifact is", LARGEST >> 20);
                Failure::Error(Error::new(Id::ArtifactDownload, message))
            };
            if total.is_some_and(|total| total > LARGEST) {
                return Err(large());
            }
            space::fits(part, total.unwrap_or(there) - there).map_err(failed)?;
            let mut body = response.bytes_stream();
            let cut = loop {
                match body.next().await {
                    Some(Ok(bytes)) => {
                        there += bytes.len() as u64;
                        if there > LARGEST {
                            return Err(large());
                        }
                        space::left(&file).map_err(failed)?;
                        file.write_all(&bytes).map_err(failed)?;
                        tell(there, total);
                    }
                    Some(Err(error)) => break Some(causes(&error)),
                    None => break total.filter(|total| there < *total).map(|_| "it ended early".to_owned()),
                }
            };
            match cut {
                None => return file.sync_all().map_err(failed),
                Some(_) if there > begun => {}
                Some(why) => return Err(Failure::Unreachable(format!("{url}: {why}"))),
            }
        }
    }
}

/// Follows redirections, but not from HTTPS to HTTP, where anybody on the way could answer.
fn follow(attempt: Attempt<'_>) -> Action {
    let secure = attempt.previous().iter().any(|url| url.scheme() == "https");
    if secure && attempt.url().scheme() != "https" {
        let why = format!("it leads from HTTPS to {}, which is not encrypted", attempt.url());
        return attempt.error(why);
    }
    Policy::default().redirect(attempt)
}

/// Returns true if an answer starts at the byte `from`.
fn resumes(response: &Response, from: u64) -> bool {
    response.status() == StatusCode::PARTIAL_CONTENT
        && response
            .headers()
            .get(CONTENT_RANGE)
            .and_then(|range| range.to_str().ok())
            .is_some_and(|range| range.starts_with(&format!("bytes {from}-")))
}

/// Returns the text of an error and its sources, as reqwest's own text lacks the cause.
fn causes(error: &dyn std::error::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    // The first text repeats the address.
    if texts.len() > 1 {
        texts.remove(0);
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};

    use super::*;

    #[tokio::test]
    async fn a_download_that_no_disk_holds_is_not_begun() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { mirror: Some("http://127.0.0.1".into()), ca_file: None };
        let http = Http::new(&options, true).unwrap();
        for (length, says) in [(LARGEST + 1, "is larger than 4096 MiB"), (u64::MAX / 2, "is larger than")] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let serving = std::thread::spawn(move || {
                let mut stream = BufReader::new(listener.accept().unwrap().0);
                while stream.by_ref().lines().next().unwrap().unwrap() != "" {}
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nsome bytes");
                // The client may have left.
                let _ = stream.get_mut().write_all(head.as_bytes());
            });
            let part = directory.path().join("part");
            let failure = http.download(&format!("http://{address}/file"), &part, |_, _| {}).await.unwrap_err();
            let Failure::Error(error) = failure else { panic!("{failure:?}") };
            assert!(error.message.contains(says), "{error}");
            assert_eq!(std::fs::metadata(&part).unwrap().len(), 0);
            serving.join().unwrap();
        }
    }
}
