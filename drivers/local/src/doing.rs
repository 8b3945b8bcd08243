//! Errors that say what was being done, and blocking work off the async threads.

use std::fmt::Display;
use std::io;

use kcl_driver_api::{Error, ErrorKind, Result};

/// Turns an error of the system into one of the driver that says what was being done.
pub trait Doing<T> {
    /// `what` completes "could not …".
    fn doing<D: Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: std::error::Error + Send + Sync + 'static> Doing<T> for std::result::Result<T, E> {
    fn doing<D: Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| {
            let io = (&error as &dyn std::any::Any).downcast_ref::<io::Error>().map(io::Error::kind);
            let made = Error::new(ErrorKind::Host, format!("could not {}: {error}", what()));
            let made = match io {
                Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => made.hint("free some space there"),
                _ => made,
            };
            made.source(error)
        })
    }
}

/// Runs blocking work where it holds up no async task.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Error::engine(format!("a task died: {error}"))))
}

/// Runs `work` in a thread of its own, which ends with it: whatever it changes of itself (namespaces, umask) concerns
/// no other thread. The caller waits.
pub fn in_own_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(Error::engine("a thread of the driver panicked")))
}
