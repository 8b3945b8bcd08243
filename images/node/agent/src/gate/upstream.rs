//! One API server and its readiness.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Client, http};

/// The interval between probes at the beginning; later it is a fortieth of the time so far, so that a server that is
/// down for long costs nothing.
const SHORTEST: Duration = Duration::from_millis(25);
const LONGEST: Duration = Duration::from_secs(1);
/// The timeout of a probe: the API server is on the same network.
const PATIENCE: Duration = Duration::from_secs(2);

/// The interval between probes of a server that is ready, where another one could take over; their timeout, and the number
/// of failures in a row after which the server counts as lost. A node without power answers nothing, and clients should
/// have another server within three seconds.
const PERIOD: Duration = Duration::from_millis(500);
const BRIEF_PATIENCE: Duration = Duration::from_secs(1);
const LOST: u32 = 2;

/// An API server that is probed.
pub(super) struct Upstream {
    /// The address of the server.
    pub address: SocketAddr,
    /// True if it is the node's own.
    pub local: bool,
    ready: watch::Sender<bool>,
    /// True while it is probed although it is ready.
    watched: watch::Sender<bool>,
    task: RefCell<Option<JoinHandle<()>>>,
    /// Called after each change of readiness.
    changed: Box<dyn Fn()>,
}

type Connection = TlsStream<TcpStream>;

impl Upstream {
    /// Starts probing a server.
    pub(super) fn watch(
        address: SocketAddr,
        local: bool,
        client: Arc<Client>,
        changed: impl Fn() + 'static,
    ) -> Rc<Upstream> {
        let upstream = Rc::new(Upstream {
            address,
            local,
            ready: watch::Sender::new(false),
            watched: watch::Sender::new(false),
            task: RefCell::new(None),
            changed: Box::new(changed),
        });
        let task = tokio::task::spawn_local(upstream.clone().ask_forever(client));
        upstream.task.replace(Some(task));
        upstream
    }

    /// Returns true if the last probe succeeded and no connection has failed since.
    pub(super) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Returns once the server is not ready.
    pub(super) async fn until_lost(&self) {
        // The upstream holds the sender, so this ends only when the condition is true.
        let _ = self.ready.subscribe().wait_for(|ready| !ready).await;
    }

    /// Notes that a connection failed: the server is not ready until the next probe succeeds.
    pub(super) fn failed(&self) {
        self.set(false);
    }

    /// Begins or ends to probe the server while it is ready.
    pub(super) fn watch_over(&self, watched: bool) {
        self.watched.send_if_modified(|before| std::mem::replace(before, watched) != watched);
    }

    /// Stops probing the server.
    pub(super) fn forget(&self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    async fn ask_forever(self: Rc<Upstream>, client: Arc<Client>) {
        loop {
            let since = Instant::now();
            let mut connection = None;
            while !matches!(timeout(PATIENCE, self.ask(&client, &mut connection)).await, Ok(Ok(200))) {
                tokio::time::sleep((since.elapsed() / 40).clamp(SHORTEST, LONGEST)).await;
            }
            self.set(true);
            tokio::select! {
                () = self.until_lost() => {}
                () = self.fails(&client, connection) => self.set(false),
            }
        }
    }

    /// Returns once a server that was ready is no longer, as far as it is watched.
    async fn fails(&self, client: &Client, mut connection: Option<Connection>) {
        let mut failures = 0;
        while failures < LOST {
            if !*self.watched.borrow() {
                // A server alone is not asked again, and keeps no connection for it.
                connection = None;
                let _ = self.watched.subscribe().wait_for(|watched| *watched).await;
            }
            tokio::time::sleep(if failures == 0 { PERIOD } else { SHORTEST }).await;
            failures = match timeout(BRIEF_PATIENCE, self.ask(client, &mut connection)).await {
                Ok(Ok(200)) => 0,
                _ => failures + 1,
            };
        }
    }

    /// Probes once, over the previous connection if possible.
    async fn ask(&self, client: &Client, kept: &mut Option<Connection>) -> io::Result<u16> {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                TlsConnector::from(client.config()).connect(client.name.clone(), stream).await?
            }
        };
        let answer = http::get(&mut connection, "/readyz").await?;
        if answer.reusable {
            *kept = Some(connection);
        }
        Ok(answer.status)
    }

    fn set(&self, ready: bool) {
        if self.ready.send_replace(ready) != ready {
            (self.changed)();
        }
    }
}
