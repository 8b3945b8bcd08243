//! Connections through the gate.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use kcl_node_spec::{NodeSpec, ports};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::upstream::Upstream;
use super::{Client, Gate, shared};
use crate::error::{Doing, Result};
use crate::listen;
use crate::state::State;

/// The time to connect after which a server on the same network is considered down.
const PATIENCE: Duration = Duration::from_secs(1);

/// Seconds without a response after which a connection is dropped: a node that lost its power closes nothing, and its
/// clients should soon find another one.
const SILENCE: u32 = 10;

/// The most clients that wait for an API server at once. A node has some dozens, each with a few connections.
const MOST_WAITING: usize = 4096;

/// The number of bytes after which a waiting client is no longer read. A client of TLS sends one message, of a few kB, and
/// waits for the reply.
const MOST_SENT: usize = 64 << 10;

/// Opens the gate's port, on a control plane also at the address that all of them share, and passes connections on for as
/// long as the agent runs.
pub(crate) async fn open(spec: &NodeSpec, client: Client, state: Rc<State>) -> Result<Rc<Gate>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::API_SERVER));
    let listener = TcpListener::bind(address).await.doing(|| format!("listen on {address}"))?;
    let gate = Gate::new(spec, client, state);
    tokio::task::spawn_local(accept(listener, gate.clone(), false));
    share(spec, &gate)?;
    Ok(gate)
}

/// Takes part in the address that control planes share, if the node is one and does not yet.
pub(crate) fn share(spec: &NodeSpec, gate: &Rc<Gate>) -> Result<()> {
    if let Some(address) = spec.kubernetes.api_address
        && !gate.shares.replace(true)
    {
        tokio::task::spawn_local(accept(shared::listen(address)?, gate.clone(), true));
        tokio::task::spawn_local(shared::hold(spec.address, address, gate.clone()));
    }
    Ok(())
}

/// Passes connections on; those to the address that is `shared` end when the node no longer holds it.
async fn accept(listener: TcpListener, gate: Rc<Gate>, shared: bool) {
    let waiting = Rc::new(Cell::new(0));
    let most = most_waiting();
    let serve = |(client, _)| {
        // The client retries, as it does when an API server is overloaded.
        if waiting.get() < most {
            let (gate, waiting) = (gate.clone(), Waiting::begin(&waiting));
            tokio::task::spawn_local(async move {
                tokio::select! {
                    () = pass(client, gate.clone(), waiting) => {}
                    () = gate.until_withdrawn(), if shared => {}
                }
            });
        }
    };
    listen::forever("the gate", || listener.accept(), serve).await;
}

/// Returns the number of clients that may wait at once: a quarter of the files that the agent may open, as it needs some
/// for itself.
fn most_waiting() -> usize {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    usize::try_from(limit / 4).unwrap_or(MOST_WAITING).min(MOST_WAITING)
}

/// A client that waits; it counts for as long as this value exists.
struct Waiting(Rc<Cell<usize>>);

impl Waiting {
    fn begin(count: &Rc<Cell<usize>>) -> Waiting {
        count.set(count.get() + 1);
        Waiting(count.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Holds the connection until it can be passed on.
async fn pass(mut client: TcpStream, gate: Rc<Gate>, waiting: Waiting) {
    let Some(((upstream, mut server), sent)) = hold(&mut client, connect(&gate)).await else { return };
    drop(waiting);
    let _ = client.set_nodelay(true);
    if server.write_all(&sent).await.is_ok() {
        tokio::select! {
            // Either side may close at any time; the other one sees the end.
            _ = copy_bidirectional(&mut client, &mut server) => {}
            // The client connects again, and gets the other one.
            () = gate.until_replaced(&upstream) => {}
        }
    }
}

/// Waits for the server of a client. Returns it with the bytes that the client has sent meanwhile, or nothing if the client
/// has closed its connection: clients time out and retry, and those that are gone must not pile up.
async fn hold<C: AsyncRead + Unpin, S>(client: &mut C, server: impl Future<Output = S>) -> Option<(S, Vec<u8>)> {
    let mut sent = Vec::new();
    let server = tokio::select! {
        server = server => server,
        () = closed(client, &mut sent) => return None,
    };
    Some((server, sent))
}

/// Returns once the client has closed its connection, which only reading shows.
async fn closed<C: AsyncRead + Unpin>(client: &mut C, sent: &mut Vec<u8>) {
    while sent.len() < MOST_SENT {
        match client.read_buf(sent).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    std::future::pending().await
}

async fn connect(gate: &Gate) -> (Rc<Upstream>, TcpStream) {
    loop {
        for upstream in gate.until_some_ready().await {
            match timeout(PATIENCE, TcpStream::connect(upstream.address)).await {
                Ok(Ok(stream)) if prepare(&stream).is_ok() => return (upstream, stream),
                _ => upstream.failed(),
            }
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &SILENCE)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &(SILENCE / 2))?;
    setsockopt(stream, sockopt::TcpKeepCount, &2)?;
    setsockopt(stream, sockopt::TcpUserTimeout, &(SILENCE * 1000))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn within(work: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
    }

    #[test]
    fn a_client_that_has_gone_is_not_held() {
        within(async {
            let (mut client, mut held) = tokio::io::duplex(64);
            client.write_all(b"hello").await.unwrap();
            drop(client);
            assert!(hold(&mut held, std::future::pending::<()>()).await.is_none());
        });
    }

    #[test]
    fn a_client_that_waits_keeps_what_it_has_sent() {
        within(async {
            let (mut client, mut held) = tokio::io::duplex(64);
            let (server, ready) = oneshot::channel();
            let send = async {
                client.write_all(b"hello").await.unwrap();
                // The other side reads first.
                tokio::task::yield_now().await;
                server.send(7).unwrap();
            };
            let (found, ()) = tokio::join!(hold(&mut held, ready), send);
            let (found, mut sent) = found.unwrap();
            client.write_all(b", world").await.unwrap();
            drop(client);
            held.read_to_end(&mut sent).await.unwrap();
            assert_eq!((found, sent.as_slice()), (Ok(7), &b"hello, world"[..]));
        });
    }

    #[test]
    fn clients_count_while_they_wait() {
        let count = Rc::new(Cell::new(0));
        let (first, second) = (Waiting::begin(&count), Waiting::begin(&count));
        assert_eq!(count.get(), 2);
        drop((first, second));
        assert_eq!(count.get(), 0);
    }
}
