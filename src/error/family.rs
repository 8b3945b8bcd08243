//! Families of expected errors, each with an exit code.

/// The family of an error. It decides kcl's exit code.
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
    /// All families, by their exit codes in the documentation.
    pub const ALL: [Family; 11] = [
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

    /// Returns the stable name in JSON output.
    pub fn name(self) -> &'static str {
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
