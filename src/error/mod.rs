//! Expected errors: a stable id, an exit code by family, a message, and hints.

mod family;
mod id;

use std::fmt;

pub use family::Family;
pub use id::Id;

/// A result of kcl.
pub type Result<T> = std::result::Result<T, Error>;

/// An error for the user: the cause first, then the remedies.
#[derive(Debug)]
pub struct Error {
    /// The id, by which programs know the error.
    pub id: Id,
    /// The failed action and the finding.
    pub message: String,
    /// The remedies, one line each.
    pub hints: Vec<String>,
    /// The cause below, for `-v`.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// The result so far is kept, and the same command resumes from there.
    pub unfinished: bool,
}

impl Error {
    /// Returns an error with a message.
    pub fn new(id: Id, message: impl Into<String>) -> Self {
        Error { id, message: message.into(), hints: Vec::new(), source: None, unfinished: false }
    }

    /// Adds a remedy.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Returns the same error for another one that it is about, without the cause below.
    pub fn again(&self) -> Self {
        Error { hints: self.hints.clone(), unfinished: self.unfinished, ..Error::new(self.id, self.message.as_str()) }
    }

    /// Adds the cause below.
    pub fn source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<kcl_driver_api::Error> for Error {
    fn from(error: kcl_driver_api::Error) -> Self {
        use kcl_driver_api::ErrorKind;
        let id = match error.kind {
            ErrorKind::NotFound => Id::MachineNotFound,
            ErrorKind::Conflict => Id::HostConflict,
            ErrorKind::PortTaken => Id::PortTaken,
            ErrorKind::SubnetTaken => Id::SubnetTaken,
            ErrorKind::Host => Id::HostFailed,
            ErrorKind::DiskFull => Id::DiskFull,
            ErrorKind::Unreachable => Id::HostUnreachable,
            ErrorKind::HostKey => Id::HostKeyUnknown,
            ErrorKind::Engine => Id::DriverFailed,
            ErrorKind::State => Id::MachineState,
            ErrorKind::Unfinished => Id::DriverUnfinished,
            ErrorKind::Internal => Id::Internal,
        };
        Error {
            id,
            message: error.message,
            hints: error.hint.into_iter().collect(),
            source: error.source,
            unfinished: error.kind == ErrorKind::Unfinished,
        }
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Error::new(Id::Internal, format!("a task died: {error}")).source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::Family;

    #[test]
    fn the_documentation_has_all_exit_codes() {
        let page = include_str!("../../docs/output.md");
        let rows: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once("` | ")).collect();
        let documented: Vec<_> = rows.iter().map(|(row, _)| *row).filter(|row| row.contains(" | `")).collect();
        let all = Family::ALL.map(|family| format!("{} | `{}", family.exit_code(), family.name()));
        assert_eq!(documented, all);
    }
}
