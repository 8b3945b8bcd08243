//! An empty home, and kcl in it.

use std::path::PathBuf;

use assert_cmd::Command;

/// A home in which nothing is.
pub(crate) struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Home { dir: tempfile::tempdir().expect("a directory") }
    }

    /// kcl in this home, far from the user's own.
    pub(crate) fn kcl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("kcl").expect("the kcl command");
        for variable in ["KCL_PROFILE", "KCL_DRIVER", "RUST_LOG", "NO_COLOR", "CI", "COLUMNS", "SSL_CERT_FILE"] {
            command.env_remove(variable);
        }
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env("KCL_HOME", self.dir.path().join("home"))
            .env("KCL_CACHE", self.dir.path().join("cache"))
            .env("KUBECONFIG", self.dir.path().join("kubeconfig"))
            // Nothing of it is a terminal here, whatever this says.
            .env("TERM", "xterm-256color");
        command
    }

    /// Runs kcl: the command line, the exit code and both streams as one text.
    pub(crate) fn told(&self, arguments: &[&str]) -> String {
        let output = self.kcl(arguments).output().expect("kcl runs");
        let code = output.status.code().map_or("a signal".to_owned(), |code| code.to_string());
        let mut text = format!("$ kcl {}\nexit {code}\n", arguments.join(" "));
        for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
            if !bytes.is_empty() {
                text.push_str(&format!("--- {name}\n{}\n", String::from_utf8_lossy(&bytes).trim_end()));
            }
        }
        text.replace(&*self.dir.path().to_string_lossy(), "DIR")
    }

    /// Runs kcl several times.
    pub(crate) fn story(&self, lines: &[&[&str]]) -> String {
        lines.iter().map(|line| self.told(line)).collect::<Vec<_>>().join("\n")
    }

    /// Writes a file beside the home, where kcl runs.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// All that is there.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let all = walkdir::WalkDir::new(self.dir.path()).min_depth(1).sort_by_file_name();
        let path = |entry: walkdir::DirEntry| entry.path().strip_prefix(self.dir.path()).expect("below").to_owned();
        all.into_iter().map(|entry| path(entry.expect("an entry"))).collect()
    }
}
