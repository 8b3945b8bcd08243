//! One API server and its readiness.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::Notify;
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

/// An API server that is probed.
pub(super) struct Upstream {
    /// The address of the server.
    pub address: SocketAddr,
    /// True if it is the node's own.
    pub local: bool,
    ready: Cell<bool>,
    doubt: Notify,
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
            ready: Cell::new(false),
            doubt: Notify::new(),
            task: RefCell::new(None),
            changed: Box::new(changed),
        });
        let task = tokio::task::spawn_local(upstream.clone().ask_forever(client));
        upstream.task.replace(Some(task));
        upstream
    }

    /// Returns true if the last probe succeeded and no connection has failed since.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.get()
    }

    /// Notes that a connection failed: the server is not ready until the next probe succeeds.
    pub(super) fn failed(&self) {
        if self.ready.get() {
            self.set(false);
            self.doubt.notify_one();
        }
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
            drop(connection);
            self.set(true);
            self.doubt.notified().await;
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
        self.ready.set(ready);
        (self.changed)();
    }
}
