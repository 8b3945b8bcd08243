//! One change of a machine at a time, each carried through.
//!
//! An engine goes on with what it was asked for when the connection is dropped, as Ctrl-C does. Who then takes back what
//! was made must not meet it half-way: the next change of the machine waits for its end.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use kcl_driver_api::{Error, Result};

use crate::names::MachineNames;

/// A turn for each machine, by its container's name. Of the process rather than of a driver: the way back may have a
/// driver of its own. Other processes are kept away by kcl's lock of the cluster.
static TURNS: LazyLock<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>> = LazyLock::new(Mutex::default);

/// Waits for the machine's turn and carries `change` through, also where nobody waits for it any more.
pub(crate) async fn in_turn<T: Send + 'static>(
    names: &MachineNames,
    change: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let turn = TURNS.lock().unwrap_or_else(PoisonError::into_inner).entry(names.container()).or_default().clone();
    let turn = turn.lock_owned().await;
    let carried = tokio::spawn(async move {
        let _turn = turn;
        change.await
    });
    carried.await.unwrap_or_else(|error| Err(Error::engine(format!("a task died: {error}"))))
}
