//! One API server, and whether it is ready.

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

/// Between two questions at the beginning; later a fortieth of the time that was spent in vain, so that one that is down
/// for long costs nothing.
const SHORTEST: Duration = Duration::from_millis(25);
const LONGEST: Duration = Duration::from_secs(1);
/// An API server on the same network that does not answer within this time is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// An API server.
pub struct Upstream {
    /// Where it is.
    pub address: SocketAddr,
    /// It is the node's own.
    pub local: bool,
    ready: Cell<bool>,
    doubt: Notify,
    task: RefCell<Option<JoinHandle<()>>>,
    /// Called after each change of readiness.
    changed: Box<dyn Fn()>,
}

type Connection = TlsStream<TcpStream>;

impl Upstream {
    /// Begins to ask.
    pub fn watch(address: SocketAddr, local: bool, client: Arc<Client>, changed: impl Fn() + 'static) -> Rc<Upstream> {
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

    /// It said so, and nothing spoke against it since.
    pub fn is_ready(&self) -> bool {
        self.ready.get()
    }

    /// A connection to it failed: it is not ready until it says so again.
    pub fn failed(&self) {
        if self.ready.get() {
            self.set(false);
            self.doubt.notify_one();
        }
    }

    /// Stops asking.
    pub fn forget(&self) {
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

    /// Asks once, over the connection of the last time where that is possible.
    async fn ask(&self, client: &Client, kept: &mut Option<Connection>) -> io::Result<u16> {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                TlsConnector::from(client.config.clone()).connect(client.name.clone(), stream).await?
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
