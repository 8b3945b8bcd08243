//! Ctrl-C and SIGTERM end a verb the way a failure does.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Family, Result};

/// Runs `work`; a signal drops it and makes an error of it, so that the caller's way back is the same. A second signal
/// ends kcl at once.
pub async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    // Before the work begins: from its first moment on a signal has to find the way back.
    let mut signals = Signals::listen()?;
    let signal = tokio::select! {
        result = work => return result,
        signal = signals.next() => signal,
    };
    tokio::spawn(async move {
        signals.next().await;
        // By then the user knows; what is left is taken up by the next start or delete.
        std::process::exit(Family::Interrupted.exit_code().into());
    });
    Err(Error::new(Family::Interrupted, format!("interrupted by {}", signal.name())))
}

/// A signal by which a user or a system asks a program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// SIGINT: of a terminal, most often.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP.
    HangUp,
}

impl Ending {
    /// What users know it as.
    fn name(self) -> &'static str {
        match self {
            Ending::Interrupt => "Ctrl-C",
            Ending::Terminate => "SIGTERM",
            Ending::HangUp => "SIGHUP",
        }
    }
}

/// These signals, from now on.
pub struct Signals {
    int: Signal,
    term: Signal,
    hup: Signal,
}

impl Signals {
    /// Listens to them.
    pub fn listen() -> Result<Self> {
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
    pub async fn next(&mut self) -> Ending {
        tokio::select! {
            _ = self.int.recv() => Ending::Interrupt,
            _ = self.term.recv() => Ending::Terminate,
            _ = self.hup.recv() => Ending::HangUp,
        }
    }
}
