//! Errors of drivers, of kinds that kcl tells apart.

use serde::{Deserialize, Serialize};

/// A result of a driver.
pub type Result<T> = std::result::Result<T, Error>;

/// The kind of an error, by which kcl gives it an id and an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The machine, network or file does not exist.
    NotFound,
    /// Something else has that name or address already.
    Conflict,
    /// A port of the host is in use.
    PortTaken,
    /// The subnet is in use, or no free one is left.
    SubnetTaken,
    /// The host lacks a program, a kernel feature or a privilege.
    Host,
    /// A disk is full.
    DiskFull,
    /// The host or the engine cannot be reached, or refuses the login.
    Unreachable,
    /// The key of a host is unknown, revoked, or another one than before.
    HostKey,
    /// The engine (runc, dockerd, QEMU, sshd …) refused or failed.
    Engine,
    /// The machine is in the wrong state, such as a stopped machine for a command.
    State,
    /// The request was interrupted and its progress is kept: the same request resumes from there.
    Unfinished,
    /// A task of the driver panicked: a bug.
    Internal,
}

/// An error of a driver: the attempt, the cause and, if known, the next step.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The kind of the error.
    pub kind: ErrorKind,
    /// The attempt and its outcome.
    pub message: String,
    /// The next step for the user, as a sentence or a command.
    pub hint: Option<String>,
    /// The cause of the error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Creates an error of a kind with a message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), hint: None, source: None }
    }

    /// Creates an error of the engine, the kind of most errors.
    pub fn engine(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Engine, message)
    }

    /// Adds the next step for the user.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause of the error.
    pub fn source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::new(ErrorKind::Host, error.to_string()).source(error)
    }
}

impl From<kcl_node_spec::NoIpv4> for Error {
    fn from(error: kcl_node_spec::NoIpv4) -> Self {
        Error::new(ErrorKind::State, error.to_string())
    }
}
