//! The state that all requests of a console share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::addons::Addons;
use crate::cluster::Cluster;
use crate::guard;
use crate::identity::Identity;
use crate::session::Sessions;
use crate::upstream::Upstream;

/// The pause between two attempts to accept when this process has no free file descriptor.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// The state of a console that all its requests share.
pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    pub(crate) upstream: Upstream,
    pub(crate) sessions: Sessions,
    pub(crate) activity: Arc<Activity>,
    /// Notified when the server has to end.
    pub(crate) end: Notify,
    pub(crate) addons: Option<Arc<dyn Addons>>,
    pub(crate) port: u16,
    /// The path below which everything is served. Browsers send a cookie to all ports of a host, but only to a page that
    /// knows this path.
    pub(crate) scope: String,
}

impl Shared {
    /// Returns a link that signs in as an identity once.
    pub(crate) fn link(&self, identity: Identity) -> String {
        format!("http://127.0.0.1:{}/{}/open?token={}", self.port, self.scope, self.sessions.link(identity))
    }

    /// Returns the cookie of a session. Only the page gets it: no script reads it, and no link of another site sends it.
    pub(crate) fn cookie(&self, secret: &str) -> String {
        format!("{}={secret}; Path=/{}/; HttpOnly; SameSite=Strict", guard::COOKIE_NAME, self.scope)
    }

    /// Returns the addons if this identity may change them: they are changed with kcl's own rights, so by its user only.
    pub(crate) fn addons_for(&self, identity: &Identity) -> Option<Arc<dyn Addons>> {
        self.addons.clone().filter(|_| *identity == Identity::Own)
    }

    /// Returns the command that prints a new link.
    pub(crate) fn command(&self) -> String {
        format!("kcl dashboard -p {}", self.cluster.name)
    }
}

/// The time of the last request, and the channels that are open.
pub(crate) struct Activity {
    last: Mutex<Instant>,
    channels: AtomicUsize,
}

impl Activity {
    /// Returns an activity that begins now.
    pub(crate) fn new() -> Self {
        Activity { last: Mutex::new(Instant::now()), channels: AtomicUsize::new(0) }
    }

    /// Notes a request.
    pub(crate) fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns the time since the last use; zero while a channel is open.
    pub(crate) fn idle(&self) -> Duration {
        match self.channels.load(Ordering::SeqCst) {
            0 => self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed(),
            _ => Duration::ZERO,
        }
    }

    /// Counts a channel as open until the returned guard is dropped.
    pub(crate) fn channel(self: &Arc<Self>) -> OpenChannel {
        self.channels.fetch_add(1, Ordering::SeqCst);
        OpenChannel(self.clone())
    }
}

/// An open channel, which means that the page is on show.
pub(crate) struct OpenChannel(Arc<Activity>);

impl Drop for OpenChannel {
    fn drop(&mut self) {
        self.0.touch();
        self.0.channels.fetch_sub(1, Ordering::SeqCst);
    }
}
