//! Errors, with the operation that failed.

use std::io;

/// An error of the agent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A system call or a file operation failed.
    #[error("{what}: {source}")]
    Io {
        /// The operation that failed and its object.
        what: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The kernel refused a netlink request.
    #[error("{what}: {source}")]
    Netlink {
        /// The operation that failed and its object.
        what: String,
        /// The error of the kernel.
        source: rtnetlink::Error,
    },
    /// A file or a fact is invalid.
    #[error("{0}")]
    Invalid(String),
}

impl From<kcl_node_spec::NoIpv4> for Error {
    fn from(error: kcl_node_spec::NoIpv4) -> Self {
        Error::Invalid(error.to_string())
    }
}

/// The result of most functions here.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Adds the failed operation to an error.
pub(crate) trait Doing<T> {
    /// Adds `what` to the error.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { what: what(), source })
    }
}

impl<T> Doing<T> for nix::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error::Io { what: what(), source: errno.into() })
    }
}

impl<T> Doing<T> for std::result::Result<T, rtnetlink::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Netlink { what: what(), source })
    }
}
