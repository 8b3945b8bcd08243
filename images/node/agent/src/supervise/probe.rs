//! Probes of a component: whether it is ready while it starts, and whether it still works after that.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use crate::components::Liveness;
use crate::gate::{Client, http};

/// The interval between probes while a component starts. They end once it is ready.
const INTERVAL: Duration = Duration::from_millis(50);

/// The interval between probes of a component that is ready, and the time that each may take.
#[derive(Clone, Copy)]
struct Pace {
    period: Duration,
    patience: Duration,
}

/// The pace, and the number of failures in a row after which a component counts as hung: those of the liveness probes that
/// kubeadm gives to the control plane. A node that is only busy answers within two minutes.
const PACE: Pace = Pace { period: Duration::from_secs(10), patience: Duration::from_secs(15) };
const HUNG: u32 = 8;
/// The longest interval until the first success: a component that hangs before it does not count as hung.
const FIRST: Duration = Duration::from_secs(1);
/// The number of failures in a row after which a component no longer counts as ready, as of readiness probes.
const UNREADY: u32 = 3;

/// The client's side of the beginning of HTTP/2 (RFC 9113, section 3.4): its preface, and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Returns once `GET /healthz` on this port of loopback succeeds with 200.
pub(super) async fn healthy(port: u16, client: Option<Arc<Client>>) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    loop {
        if get(address, client.as_deref(), "/healthz").await.is_ok() {
            return;
        }
        sleep(INTERVAL).await;
    }
}

/// Returns once a component that was ready has hung. `works` is called when it no longer counts as ready (false), and when
/// it does again (true).
pub(super) async fn hung(liveness: Liveness, client: Arc<Client>, works: impl Fn(bool)) {
    let alive = || {
        let client = client.clone();
        async move {
            match liveness {
                Liveness::Http(port, path) => get((Ipv4Addr::LOCALHOST, port).into(), None, path).await,
                Liveness::Https(address, path) => get(address, Some(&client), path).await,
                Liveness::Line(socket, line) => ask(UnixStream::connect(socket).await?, line).await,
                Liveness::Grpc(socket) => greet(UnixStream::connect(socket).await?).await,
            }
        }
    };
    failed(PACE, alive, works).await;
}

/// Returns after [`HUNG`] failures in a row. They count only after the first success: the user may have moved the endpoint
/// by a flag.
async fn failed<F: Future<Output = io::Result<()>>>(pace: Pace, mut alive: impl FnMut() -> F, works: impl Fn(bool)) {
    let mut failures = None;
    loop {
        let begun = Instant::now();
        if matches!(timeout(pace.patience, alive()).await, Ok(Ok(()))) {
            if failures.is_some_and(|count| count >= UNREADY) {
                works(true);
            }
            failures = Some(0);
        } else if let Some(count) = &mut failures {
            *count += 1;
            match *count {
                UNREADY => works(false),
                HUNG => return,
                _ => {}
            }
        }
        let period = if failures.is_some() { pace.period } else { pace.period.min(FIRST) };
        sleep_until(begun + period).await;
    }
}

async fn get(address: SocketAddr, client: Option<&Client>, path: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let answer = match client {
        None => http::get(&mut stream, path).await?,
        Some(client) => {
            let connector = TlsConnector::from(client.config());
            http::get(&mut connector.connect(client.name.clone(), stream).await?, path).await?
        }
    };
    if answer.status == 200 { Ok(()) } else { Err(io::Error::other(format!("{path}: {}", answer.status))) }
}

/// Succeeds once a server has answered a line with a line.
async fn ask(mut stream: UnixStream, line: &str) -> io::Result<()> {
    stream.write_all(line.as_bytes()).await?;
    stream.write_all(b"\n").await?;
    match BufReader::new(stream).read_line(&mut String::new()).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Succeeds once a server of HTTP/2 has sent its own preface, which needs neither a method nor rights.
async fn greet(mut stream: UnixStream) -> io::Result<()> {
    stream.write_all(PREFACE).await?;
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Returns the number of probes until a component counts as hung, and the changes of its readiness; none if it never
    /// does. Its probes succeed where `results` has a `+`.
    fn outcome(results: &str) -> (Option<usize>, Vec<bool>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (mut next, changes) = (0, RefCell::new(Vec::new()));
        let (over, end) = tokio::sync::oneshot::channel::<()>();
        let mut over = Some(over);
        let hung = runtime.block_on(async {
            let alive = || {
                let result = results.as_bytes().get(next).copied();
                next += 1;
                if result.is_none() {
                    drop(over.take());
                }
                async move {
                    match result {
                        Some(b'+') => Ok(()),
                        Some(b'-') => Err(io::ErrorKind::ConnectionRefused.into()),
                        // It hangs.
                        Some(_) => std::future::pending().await,
                        None => std::future::pending().await,
                    }
                }
            };
            let pace = Pace { period: Duration::ZERO, patience: Duration::from_millis(5) };
            tokio::select! {
                () = failed(pace, alive, |works| changes.borrow_mut().push(works)) => true,
                _ = end => false,
            }
        });
        (hung.then_some(next), changes.into_inner())
    }

    #[test]
    fn a_component_that_hangs_is_told_from_one_that_is_slow() {
        assert_eq!(outcome("+........"), (Some(9), vec![false]));
        assert_eq!(outcome("+-------+"), (None, vec![false, true]));
        assert_eq!(outcome("+--+--+-."), (None, vec![]));
        assert_eq!(outcome("+-.-.-.-."), (Some(9), vec![false]));
    }

    #[test]
    fn an_endpoint_that_never_answered_says_nothing() {
        assert_eq!(outcome("------------"), (None, vec![]));
    }

    #[test]
    fn a_server_of_lines_is_asked() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (here, mut there) = UnixStream::pair().unwrap();
            there.write_all(b"{}\n").await.unwrap();
            ask(here, "ping").await.unwrap();
            let (here, mut there) = UnixStream::pair().unwrap();
            let close = async {
                let mut line = [0; 5];
                there.read_exact(&mut line).await.unwrap();
                drop(there);
                assert_eq!(&line, b"ping\n");
            };
            let (answer, ()) = tokio::join!(ask(here, "ping"), close);
            answer.unwrap_err();
        });
    }

    #[test]
    fn a_server_of_http_2_is_greeted() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (here, mut there) = UnixStream::pair().unwrap();
            let serve = async {
                let mut preface = [0; 33];
                there.read_exact(&mut preface).await.unwrap();
                assert!(preface.starts_with(b"PRI * HTTP/2.0\r\n"));
                there.write_all(b"\0\0\0\x04\0\0\0\0\0").await.unwrap();
            };
            let (answer, ()) = tokio::join!(greet(here), serve);
            answer.unwrap();
            let (here, there) = UnixStream::pair().unwrap();
            drop(there);
            greet(here).await.unwrap_err();
        });
    }
}
