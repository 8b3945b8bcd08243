//! What ends the program; the kubelet starts it again, and what it said is in the pod's log.

/// The errors.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A variable of the environment, or an argument, is not as it has to be.
    #[error("{0}")]
    Setting(String),
    /// There is no service account to speak as.
    #[error("this is no pod with a service account: {0}")]
    NotInACluster(#[from] kube::config::InClusterError),
    /// The cluster's API.
    #[error("the cluster's API: {0}")]
    Api(#[from] kube::Error),
    /// The kernel's links and addresses.
    #[error("{doing}: {source}")]
    Netlink {
        /// What was done.
        doing: String,
        /// Why it failed.
        source: rtnetlink::Error,
    },
    /// Any other call to the kernel.
    #[error("{doing}: {source}")]
    Io {
        /// What was done.
        doing: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// The program's results.
pub type Result<T> = std::result::Result<T, Error>;

/// Adds to an error what was being done.
pub trait Doing<T> {
    /// `what` completes "cannot".
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for std::result::Result<T, rtnetlink::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Netlink { doing: format!("cannot {}", what()), source })
    }
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { doing: format!("cannot {}", what()), source })
    }
}
