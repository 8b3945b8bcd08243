//! A server of files over HTTP/1.1 that can misbehave.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The server's files, by path.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The server's behaviour, and its requests: paths, with the `Range` header if there was one.
#[derive(Default)]
pub(crate) struct Behaviour {
    /// Closes the connection after so many bytes of a body, once for each file that is longer.
    pub cut_after: Option<usize>,
    /// Takes requests and never answers.
    pub silent: bool,
    /// Sends the client on to the same path at this address.
    pub redirect: Option<String>,
}

/// A running server; it ends with the runtime.
pub(crate) struct Server {
    /// Returns the server's address.
    pub address: SocketAddr,
    /// Returns the requests so far.
    pub requests: Arc<Mutex<Vec<String>>>,
}

/// Starts a server.
pub(crate) async fn start(files: Files, behaviour: Behaviour, tls: Option<TlsAcceptor>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let requests = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::new((files, behaviour, requests.clone()));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            let (shared, tls) = (shared.clone(), tls.clone());
            tokio::spawn(async move {
                let (files, behaviour, requests) = &*shared;
                // A client that goes away is not the server's trouble.
                let _ = match tls {
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => serve(stream, files, behaviour, requests).await,
                        Err(error) => Err(error),
                    },
                    None => serve(stream, files, behaviour, requests).await,
                };
            });
        }
    });
    Server { address, requests }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    files: &Files,
    behaviour: &Behaviour,
    requests: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        // A proxy is asked for whole addresses.
        let target = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
        let path = match target.split_once("://") {
            Some((_, rest)) => rest.split_once('/').map(|(_, path)| format!("/{path}")).unwrap_or_default(),
            None => target.clone(),
        };
        let mut from = None;
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).await?;
            let header = header.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(range) = header.strip_prefix("range: bytes=") {
                from = range.trim_end_matches('-').parse::<usize>().ok();
            }
        }
        let range = from.map(|from| format!(" from {from}")).unwrap_or_default();
        let again = {
            let mut requests = requests.lock().expect("requests");
            requests.push(format!("{target}{range}"));
            requests.iter().filter(|known| known.starts_with(&target)).count() > 1
        };
        if behaviour.silent {
            std::future::pending::<()>().await;
        }
        if let Some(to) = &behaviour.redirect {
            let answer = format!("HTTP/1.1 302 Found\r\nlocation: {to}{path}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await?;
            continue;
        }
        let Some(body) = files.get(&path) else {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await?;
            continue;
        };
        let (status, body, extra) = match from {
            Some(from) if from < body.len() => {
                let range = format!("content-range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len());
                ("206 Partial Content", &body[from..], range)
            }
            Some(_) => ("416 Range Not Satisfiable", &body[..0], String::new()),
            None => ("200 OK", &body[..], String::new()),
        };
        stream
            .write_all(format!("HTTP/1.1 {status}\r\n{extra}content-length: {}\r\n\r\n", body.len()).as_bytes())
            .await?;
        match behaviour.cut_after {
            Some(length) if length < body.len() && !again => {
                stream.write_all(&body[..length]).await?;
                stream.flush().await?;
                return stream.shutdown().await;
            }
            _ => stream.write_all(body).await?,
        }
        stream.flush().await?;
    }
}
