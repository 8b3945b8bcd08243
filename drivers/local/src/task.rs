//! Work away from the async tasks: blocking work, work in a thread of its own, and changes of a machine one at a time.

use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use kcl_driver_api::{Error, ErrorKind, Result};

/// Runs blocking work where it holds up no async task.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(died(&error)))
}

fn died(error: &tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, format!("a task died: {error}"))
}

/// Runs `work` in a thread that ends with it, and waits for it: changes of the thread's namespaces or umask affect no
/// other work.
pub fn in_own_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(Error::engine("a thread of the driver panicked")))
}

/// A lock for each machine. They belong to the process rather than to a driver, as a rollback may use a driver of its
/// own; kcl's lock of the cluster keeps other processes away.
static LOCKS: LazyLock<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>> = LazyLock::new(Mutex::default);

/// Runs one change of a machine at a time, each to its end even if the future is dropped.
///
/// Most of a change is blocking work on another thread or in an engine, which continues when its future is dropped, as
/// Ctrl-C does. A rollback must not meet it half-way, so the next change of the machine waits for its end. `machine` is
/// any text that tells the machine from all others.
pub async fn run_exclusively<T: Send + 'static>(
    machine: impl Display,
    change: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let lock = LOCKS.lock().unwrap_or_else(PoisonError::into_inner).entry(machine.to_string()).or_default().clone();
    let guard = lock.lock_owned().await;
    let change = tokio::spawn(async move {
        let _guard = guard;
        change.await
    });
    change.await.unwrap_or_else(|error| Err(died(&error)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_dropped_change_ends_before_the_next_begins() {
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (go, goes) = std::sync::mpsc::channel();
        let ended = Arc::new(AtomicBool::new(false));
        let change = run_exclusively("kcl", {
            let ended = ended.clone();
            blocking(move || {
                begun.send(()).expect("the test waits");
                goes.recv().expect("the test says when");
                ended.store(true, Ordering::SeqCst);
                Ok(())
            })
        });
        tokio::select! {
            _ = change => panic!("the change ended too early"),
            begun = begins => begun.expect("the change begins"),
        }
        go.send(()).expect("the change still waits");
        let ended = run_exclusively("kcl", async move { Ok(ended.load(Ordering::SeqCst)) }).await;
        assert!(ended.expect("no error"), "the next change began too early");
    }
}
