//! Ctrl-C and SIGTERM end a verb the way a failure does.

use std::future::Future;
use std::io::Write as _;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Id, Result};

/// Runs `work`; a signal drops it and returns an error, so that the caller cleans up as after a failure. A second
/// signal ends kcl at once.
pub async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    interruptible_with(work, "interrupted again: the work on nodes is cut off").await
}

/// Runs `work` on a cluster as [`interruptible`] does. If kcl ends at once, it says what is left.
pub(super) async fn interruptible_on<T>(cluster: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let left = format!(
        "interrupted again: what there is of \"{cluster}\" is left as it is\n  \
         -> remove it with: kcl delete -p {cluster}\n  -> or complete it with: kcl start -p {cluster}"
    );
    interruptible_with(work, &left).await
}

async fn interruptible_with<T>(work: impl Future<Output = Result<T>>, left: &str) -> Result<T> {
    // Before the work begins, so that no signal ends kcl without cleaning up.
    let mut signals = Signals::listen()?;
    let signal = tokio::select! {
        result = work => return result,
        signal = signals.next() => signal,
    };
    let left = left.to_owned();
    tokio::spawn(async move {
        signals.next().await;
        // The user insists; the next start or delete cleans up what is left.
        let _ = writeln!(std::io::stderr(), "\nerror: {left}");
        std::process::exit(Id::Interrupted.exit_code().into());
    });
    Err(Error::new(Id::Interrupted, format!("interrupted by {}", signal.name())))
}

/// A signal by which a user or a system asks a program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The signal SIGINT, usually from a terminal.
    Interrupt,
    /// The signal SIGTERM.
    Terminate,
    /// The signal SIGHUP.
    HangUp,
}

impl Ending {
    /// Returns the name by which users know the signal.
    fn name(self) -> &'static str {
        match self {
            Ending::Interrupt => "Ctrl-C",
            Ending::Terminate => "SIGTERM",
            Ending::HangUp => "SIGHUP",
        }
    }
}

/// The signals of [`Ending`], received from now on.
pub(super) struct Signals {
    int: Signal,
    term: Signal,
    hup: Signal,
}

impl Signals {
    /// Starts to listen for the signals.
    pub(super) fn listen() -> Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|error| Error::new(Id::Internal, format!("signals cannot be received: {error}")))
        };
        Ok(Signals {
            int: listen(SignalKind::interrupt())?,
            term: listen(SignalKind::terminate())?,
            hup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> Ending {
        tokio::select! {
            _ = self.int.recv() => Ending::Interrupt,
            _ = self.term.recv() => Ending::Terminate,
            _ = self.hup.recv() => Ending::HangUp,
        }
    }
}
