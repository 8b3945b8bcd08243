//! Errors of the engine and of its plugin.

use std::io;

/// An error, as a sentence for the log or for the kubelet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Something that was read is invalid.
    #[error("{0}")]
    Invalid(String),
    /// A request to the cluster's API failed.
    #[error("the cluster's API: {0}")]
    Api(#[from] kube::Error),
    /// A system call failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// The operation that failed.
        doing: String,
        /// The cause of the failure.
        source: io::Error,
    },
}

/// The result of most functions here.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Adds the failed operation to an error.
pub(crate) trait Doing<T> {
    /// Adds the operation; `what` completes "cannot".
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { doing: what(), source })
    }
}
