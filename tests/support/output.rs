//! The output and exit status of a command; assertions show all of it.

use std::process::Command;

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Output {
    /// The command line.
    pub command: String,
    /// Its exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// All that it wrote there.
    pub stdout: String,
    /// All that it wrote there.
    pub stderr: String,
}

impl Output {
    /// Runs a command to its end, without input.
    pub(crate) fn of(command: &mut Command) -> Self {
        let words: Vec<_> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let words = words.join(" ");
        let output = command
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("`{words}` does not run: {error}"));
        Output {
            command: words,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts that the command succeeded.
    pub(crate) fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// Returns the trimmed stdout; asserts that the command succeeded.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert!(self.succeeded(), "{self}");
        self.stdout.trim()
    }

    /// [`Self::ok`] as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.ok()).unwrap_or_else(|error| panic!("no JSON: {error}\n{self}"))
    }

    /// Returns stderr; asserts that the command ended with this exit code.
    #[track_caller]
    pub(crate) fn fails_with(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self}");
        self.stderr.trim()
    }

    /// Returns stderr; asserts that the command failed.
    #[track_caller]
    pub(crate) fn fails(&self) -> &str {
        assert!(!self.succeeded(), "{self}");
        self.stderr.trim()
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
        write!(f, "`{}` ended with {code}\n--- stdout\n{}\n--- stderr\n{}", self.command, self.stdout, self.stderr)
    }
}
