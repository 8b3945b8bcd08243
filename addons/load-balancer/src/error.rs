//! Errors that end the program. The kubelet restarts it, and the message is in the pod's log.

/// An error that ends the program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// An environment variable or an argument is invalid.
    #[error("{0}")]
    Setting(String),
    /// The service account is missing.
    #[error("the service account is missing: {0}")]
    NotInACluster(#[from] kube::config::InClusterError),
    /// A request to the cluster's API failed.
    #[error("the cluster's API: {0}")]
    Api(#[from] kube::Error),
    /// The addresses that the node answers for cannot be read or changed.
    #[error("{0}")]
    Held(#[from] std::io::Error),
    /// Another system call failed.
    #[error("{doing}: {source}")]
    Io {
        /// The operation that failed.
        doing: String,
        /// The cause of the failure.
        source: std::io::Error,
    },
}

/// The result of most functions here.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Adds the failed operation to an error.
pub(crate) trait Doing<T> {
    /// Adds the operation; `what` completes "cannot".
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { doing: format!("cannot {}", what()), source })
    }
}
