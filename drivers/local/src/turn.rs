//! One change of a machine at a time, each carried through.
//!
//! Most of a change is blocking work on another thread, or of an engine, which goes on when its future is dropped, as
//! Ctrl-C does. Who then takes back what was made must not meet it half-way: the next change of the machine waits for its end.

use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use kcl_driver_api::{Error, Result};

/// A turn for each machine, by what tells it from all others. Of the process rather than of a driver: the way back may have a driver of
/// its own. Other processes are kept away by kcl's lock of the cluster.
static TURNS: LazyLock<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>> = LazyLock::new(Mutex::default);

/// Waits for the turn of `machine`, by a word that tells it from all others, and carries `change` through, also where
/// nobody waits for it any more.
pub async fn in_turn<T: Send + 'static>(
    machine: impl Display,
    change: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let turn = TURNS.lock().unwrap_or_else(PoisonError::into_inner).entry(machine.to_string()).or_default().clone();
    let turn = turn.lock_owned().await;
    let carried = tokio::spawn(async move {
        let _turn = turn;
        change.await
    });
    carried.await.unwrap_or_else(|error| Err(Error::engine(format!("a task died: {error}"))))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::doing::blocking;

    #[tokio::test]
    async fn a_change_that_is_given_up_ends_before_the_next_begins() {
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (go, goes) = std::sync::mpsc::channel();
        let ended = Arc::new(AtomicBool::new(false));
        let change = in_turn("kcl", {
            let ended = ended.clone();
            blocking(move || {
                begun.send(()).expect("the test waits");
                goes.recv().expect("the test says when");
                ended.store(true, Ordering::SeqCst);
                Ok(())
            })
        });
        tokio::select! {
            _ = change => panic!("it was not let go"),
            begun = begins => begun.expect("it begins"),
        }
        go.send(()).expect("it still waits");
        let ended = in_turn("kcl", async move { Ok(ended.load(Ordering::SeqCst)) }).await;
        assert!(ended.expect("no error"), "the next one came too early");
    }
}
