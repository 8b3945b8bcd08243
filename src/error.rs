//! Expected errors: a message, a stable id, an exit code by family, and hints.

use std::fmt;

/// A result of kcl.
pub type Result<T> = std::result::Result<T, Error>;

/// The family of an error. Its name is the stable id in JSON output; its number is kcl's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Anything unexpected: a bug, or a new kind of failure.
    Internal,
    /// A flag, a variable or a file that the user wrote is wrong.
    Usage,
    /// The host lacks something.
    Host,
    /// An artifact is unavailable or damaged.
    Artifact,
    /// A driver failed.
    Driver,
    /// A node or its Kubernetes did not start.
    Cluster,
    /// There is no such cluster or node.
    NotFound,
    /// State on disk cannot be read or written.
    State,
    /// The kubeconfig cannot be read or written.
    Kubeconfig,
    /// The user interrupted the command.
    Interrupted,
    /// Something took longer than the user allowed.
    Timeout,
}

impl Family {
    /// Returns kcl's exit code. 1 to 7 are left to `kcl status`, whose code is made of bits.
    pub fn exit_code(self) -> u8 {
        match self {
            Family::Internal => 70,
            Family::Usage => 64,
            Family::Host => 69,
            Family::Artifact => 66,
            Family::Driver => 71,
            Family::Cluster => 76,
            Family::NotFound => 85,
            Family::State => 74,
            Family::Kubeconfig => 78,
            Family::Interrupted => 130,
            Family::Timeout => 75,
        }
    }

    /// Returns the stable id in JSON output.
    pub fn id(self) -> &'static str {
        match self {
            Family::Internal => "INTERNAL",
            Family::Usage => "USAGE",
            Family::Host => "HOST",
            Family::Artifact => "ARTIFACT",
            Family::Driver => "DRIVER",
            Family::Cluster => "CLUSTER",
            Family::NotFound => "NOT_FOUND",
            Family::State => "STATE",
            Family::Kubeconfig => "KUBECONFIG",
            Family::Interrupted => "INTERRUPTED",
            Family::Timeout => "TIMEOUT",
        }
    }
}

/// An error for the user: the cause first, then the remedies.
#[derive(Debug)]
pub struct Error {
    /// The family of the error.
    pub family: Family,
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
    /// Returns an error of a family with a message.
    pub fn new(family: Family, message: impl Into<String>) -> Self {
        Error { family, message: message.into(), hints: Vec::new(), source: None, unfinished: false }
    }

    /// Adds a remedy.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
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
        let family = match error.kind {
            ErrorKind::NotFound => Family::NotFound,
            ErrorKind::Conflict | ErrorKind::Host => Family::Host,
            ErrorKind::Engine | ErrorKind::State | ErrorKind::Unfinished => Family::Driver,
        };
        Error {
            family,
            message: error.message,
            hints: error.hint.into_iter().collect(),
            source: error.source,
            unfinished: error.kind == ErrorKind::Unfinished,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Family;

    const ALL: [Family; 11] = [
        Family::Usage,
        Family::Artifact,
        Family::Host,
        Family::Internal,
        Family::Driver,
        Family::State,
        Family::Timeout,
        Family::Cluster,
        Family::Kubeconfig,
        Family::NotFound,
        Family::Interrupted,
    ];

    #[test]
    fn the_documentation_has_all_exit_codes() {
        let page = include_str!("../docs/output.md");
        let rows: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once("` | ")).collect();
        let documented: Vec<_> = rows.iter().map(|(row, _)| *row).filter(|row| row.contains(" | `")).collect();
        let all = ALL.map(|family| format!("{} | `{}", family.exit_code(), family.id()));
        assert_eq!(documented, all);
    }
}
