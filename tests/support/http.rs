//! The least of HTTP: a request, and a listener that tells who asked.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::LIMIT;

/// The time limit of a single answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Asks for a path: the body of the answer, which has to be a good one.
pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.lines().next().is_some_and(|line| line.contains(" 200 ")) => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("{address}{path} answered: {answer:?}"))),
    }
}

/// The status with which a server answers one who shows no certificate, no token and no name, and who trusts it blindly;
/// or why there is no answer.
pub(crate) fn status_for_a_stranger(url: &str) -> Result<u16, String> {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = reqwest::Client::builder().danger_accept_invalid_certs(true).no_proxy().timeout(ANSWER).build();
    let client = client.expect("a client");
    let answer = runtime.block_on(async { client.get(url).send().await });
    answer.map(|answer| answer.status().as_u16()).map_err(|error| format!("{error:?}"))
}

/// The requests with their clients.
type Heard = (Mutex<Vec<(IpAddr, String)>>, Condvar);

/// A server of the host, on an address of its own. It ends with the test's process.
pub(crate) struct Listener {
    address: SocketAddr,
    heard: Arc<Heard>,
}

impl Listener {
    /// Listens on a free port of this address.
    pub(crate) fn on(address: Ipv4Addr) -> Self {
        let socket = TcpListener::bind((address, 0)).unwrap_or_else(|error| panic!("{address}: {error}"));
        let heard = Arc::new(Heard::default());
        let address = socket.local_addr().expect("an address");
        let shared = heard.clone();
        std::thread::spawn(move || {
            for mut stream in socket.incoming().flatten() {
                let Ok(peer) = stream.peer_addr() else { continue };
                let mut line = String::new();
                let _ = BufReader::new(&stream).read_line(&mut line);
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello");
                let path = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
                shared.0.lock().unwrap_or_else(PoisonError::into_inner).push((peer.ip(), path));
                shared.1.notify_all();
            }
        });
        Listener { address, heard }
    }

    /// Returns the server's port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Waits until someone has asked for this path: who it was.
    #[track_caller]
    pub(crate) fn asked_for(&self, path: &str) -> IpAddr {
        let find = |heard: &[(IpAddr, String)]| heard.iter().find(|(_, asked)| asked == path).map(|(peer, _)| *peer);
        let heard = self.heard.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (heard, _) = self
            .heard
            .1
            .wait_timeout_while(heard, LIMIT, |heard| find(heard).is_none())
            .unwrap_or_else(PoisonError::into_inner);
        find(&heard).unwrap_or_else(|| panic!("no one asked for {path}: {heard:?}"))
    }
}
