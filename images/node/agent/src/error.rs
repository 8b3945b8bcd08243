//! What can go wrong, with the thing that was being done.

use std::io;

/// An error of the agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call or a file operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done to what.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel refused a netlink request.
    #[error("{what}: {source}")]
    Netlink {
        /// What was being done to what.
        what: String,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
    /// Something was found that is not right.
    #[error("{0}")]
    Invalid(String),
}

impl From<kcl_node_spec::NoIpv4> for Error {
    fn from(error: kcl_node_spec::NoIpv4) -> Self {
        Error::Invalid(error.to_string())
    }
}

/// The result of most functions here.
pub type Result<T> = std::result::Result<T, Error>;

/// Says what was being done when an error came up.
pub trait Doing<T> {
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
