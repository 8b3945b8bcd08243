//! Commands for machines, and their results.

use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The input of a command.
#[derive(Clone, Debug, Default)]
pub enum Stdin {
    /// The input is empty.
    #[default]
    Null,
    /// The input is these bytes.
    Bytes(Vec<u8>),
    /// The command reads the standard input of kcl.
    Inherit,
    /// The command reads a file, a pipe or a socket to its end.
    From(Arc<OwnedFd>),
}

/// The destination of a command's output.
#[derive(Clone, Debug, Default)]
pub enum Stdout {
    /// The output is returned in [`ExecOutput`].
    #[default]
    Capture,
    /// The output goes to the standard output and standard error of kcl.
    Inherit,
    /// The output goes to a file, a pipe or a socket. Standard error is captured.
    To(Arc<OwnedFd>),
}

/// A command for a machine.
#[derive(Clone, Debug, Default)]
pub struct Exec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables in addition to the machine's own.
    pub env: Vec<(String, String)>,
    /// The input of the command.
    pub stdin: Stdin,
    /// The destination of the output.
    pub stdout: Stdout,
    /// The command has a terminal of its own, joined to kcl's. Only with inherited streams.
    pub tty: bool,
}

impl Exec {
    /// Returns a command that reads nothing and whose output is captured.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Exec { argv: argv.into_iter().map(Into::into).collect(), ..Exec::default() }
    }
}

/// The result of a command.
#[derive(Clone, Debug, Default)]
pub struct ExecOutput {
    /// The exit code; 128 + n if signal n ended the command.
    pub code: i32,
    /// The standard output, if it was captured.
    pub stdout: Vec<u8>,
    /// The standard error, if it was captured.
    pub stderr: Vec<u8>,
}
