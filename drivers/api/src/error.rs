//! What can go wrong in a driver, in families that kcl tells apart.

/// A result of a driver.
pub type Result<T> = std::result::Result<T, Error>;

/// The family of an error: decides the exit code and whether a next step is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The machine, network or file is not there.
    NotFound,
    /// Something with that name, address or subnet is there already and is not ours.
    Conflict,
    /// The host lacks a program, a kernel feature, a right or room.
    Host,
    /// The engine (runc, dockerd, QEMU, sshd …) refused or failed.
    Engine,
    /// The machine is not in a state for this (exec in a stopped machine).
    State,
    /// It was cut off on the way, and what was done is kept: the same request goes on from there.
    Unfinished,
}

/// An error of a driver: what was tried, what was found and, where it is known, what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Its family.
    pub kind: ErrorKind,
    /// What was tried and what was found.
    pub message: String,
    /// What the user can do, as a sentence or a command.
    pub hint: Option<String>,
    /// The cause below.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of a family with a message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), hint: None, source: None }
    }

    /// The engine failed: the family that most errors belong to.
    pub fn engine(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Engine, message)
    }

    /// With what the user can do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the cause below.
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
