//! Ctrl-C and SIGTERM end a verb the way a failure does.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Family, Result};

/// Runs `work`; a signal drops it and makes an error of it, so that the caller's way back is the same. A second signal
/// ends kcl at once.
pub async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    // Before the work begins: from its first moment on a signal has to find the way back.
    let mut signals = Signals::listen()?;
    let name = tokio::select! {
        result = work => return result,
        name = signals.next() => name,
    };
    tokio::spawn(async move {
        signals.next().await;
        // By then the user knows; what is left is taken up by the next start or delete.
        std::process::exit(Family::Interrupted.exit_code().into());
    });
    Err(Error::new(Family::Interrupted, format!("interrupted by {name}")))
}

/// The signals by which a user or a system asks a program to end.
struct Signals {
    int: Signal,
    term: Signal,
    hup: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|error| Error::new(Family::Internal, format!("signals cannot be received: {error}")))
        };
        Ok(Signals {
            int: listen(SignalKind::interrupt())?,
            term: listen(SignalKind::terminate())?,
            hup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.int.recv() => "Ctrl-C",
            _ = self.term.recv() => "SIGTERM",
            _ = self.hup.recv() => "SIGHUP",
        }
    }
}
