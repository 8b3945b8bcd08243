//! Running a command in a machine.

use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What the command reads.
#[derive(Clone, Debug, Default)]
pub enum Stdin {
    /// Nothing.
    #[default]
    Null,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// What kcl's own process reads.
    Inherit,
    /// What is read from a file, a pipe or a socket, to its end.
    From(Arc<OwnedFd>),
}

/// Where the command's output goes.
#[derive(Clone, Debug, Default)]
pub enum Stdout {
    /// Into [`ExecOutput`].
    #[default]
    Capture,
    /// To kcl's own stdout and stderr.
    Inherit,
    /// To a file, a pipe or a socket. What it complains of is captured.
    To(Arc<OwnedFd>),
}

/// A command for a machine.
#[derive(Clone, Debug, Default)]
pub struct Exec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables besides the machine's own.
    pub env: Vec<(String, String)>,
    /// What it reads.
    pub stdin: Stdin,
    /// Where its output goes.
    pub stdout: Stdout,
    /// It gets a terminal of its own, joined to kcl's. Only with inherited streams.
    pub tty: bool,
}

impl Exec {
    /// A command that reads nothing and whose output is captured.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Exec { argv: argv.into_iter().map(Into::into).collect(), ..Exec::default() }
    }
}

/// What became of a command.
#[derive(Clone, Debug, Default)]
pub struct ExecOutput {
    /// Its exit code; 128 + n where signal n ended it.
    pub code: i32,
    /// What it wrote, where it was captured.
    pub stdout: Vec<u8>,
    /// What it complained of, where it was captured.
    pub stderr: Vec<u8>,
}
