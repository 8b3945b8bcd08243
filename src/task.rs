//! Blocking work beside the async tasks.

use crate::error::Result;

/// Runs blocking work where it holds up no async task.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}
