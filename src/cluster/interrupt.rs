//! Ctrl-C and SIGTERM end a verb the way a failure does.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Error, Family, Result};

/// Runs `work`; a signal drops it and makes an error of it, so that the caller's way back is the same. A second signal
/// ends kcl at once.
pub async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let name = tokio::select! {
        result = work => return result,
        name = interrupted() => name?,
    };
    tokio::spawn(async {
        if interrupted().await.is_ok() {
            // By then the user knows; what is left is taken up by the next start or delete.
            std::process::exit(Family::Interrupted.exit_code().into());
        }
    });
    Err(Error::new(Family::Interrupted, format!("interrupted by {name}")))
}

async fn interrupted() -> Result<&'static str> {
    let listen = |kind| {
        signal(kind).map_err(|error| Error::new(Family::Internal, format!("signals cannot be received: {error}")))
    };
    let (mut int, mut term, mut hup) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    Ok(tokio::select! {
        _ = int.recv() => "Ctrl-C",
        _ = term.recv() => "SIGTERM",
        _ = hup.recv() => "SIGHUP",
    })
}
