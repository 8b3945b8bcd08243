//! A user's shell: bash, with `kcl` and `kubectl` on its PATH.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::support::{Home, LIMIT};

/// The end marker of a command's output.
const END: &str = "\u{1}end";

/// A shell. Dropping it ends all that it has started.
pub(crate) struct Shell {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    script: PathBuf,
}

impl Shell {
    /// A shell in a directory, with the environment of `home`.
    pub(crate) fn open(home: &Home, place: &Path) -> Self {
        let mut bash = Command::new("bash");
        bash.args(["--noprofile", "--norc"]);
        let inherited = home.command([""; 0]);
        for (name, value) in inherited.get_envs() {
            match value {
                Some(value) => bash.env(name, value),
                None => bash.env_remove(name),
            };
        }
        let path = std::env::var("PATH").unwrap_or_default();
        bash.env("PATH", format!("{}:{path}", home.scratch().join("bin").display()));
        // What kubectl and helm keep goes with the test.
        bash.env("HOME", home.scratch()).current_dir(place).process_group(0);
        bash.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = bash.spawn().expect("bash");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (send, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut input = child.stdin.take().expect("its input");
        writeln!(input, "exec 2>&1; set -eu -o pipefail").expect("a shell that reads");
        let script = home.scratch().join(format!("{}.sh", child.id()));
        Shell { child, input, lines, script }
    }

    /// Runs commands, each of which has to succeed; what they said. Variables and directories are kept.
    #[track_caller]
    pub(crate) fn run(&mut self, commands: &str) -> String {
        let (succeeded, output) = self.ask(commands, &format!(". {}", self.script.display()));
        assert!(succeeded, "a command fails:\n{commands}\n--- said\n{output}");
        output
    }

    /// Runs commands up to the first that fails: whether none does, and what they said.
    #[track_caller]
    pub(crate) fn attempt(&mut self, commands: &str) -> (bool, String) {
        self.ask(commands, &format!("set +e; (set -e; . {})", self.script.display()))
    }

    #[track_caller]
    fn ask(&mut self, commands: &str, line: &str) -> (bool, String) {
        std::fs::write(&self.script, format!("{commands}\n")).expect("a script");
        // A shell that a failed command has ended takes nothing any more; then its output ends, too.
        let _ = writeln!(self.input, "{line} </dev/null; printf '{END} %s\\n' $?; set -e");
        let mut output = String::new();
        loop {
            match self.lines.recv_timeout(2 * LIMIT) {
                Ok(line) => match line.split_once(END) {
                    Some((before, code)) => return (code.trim() == "0", output + before),
                    None => output.extend([&*line, "\n"]),
                },
                Err(RecvTimeoutError::Disconnected) => return (false, output),
                Err(RecvTimeoutError::Timeout) => panic!("no end of this:\n{commands}\n--- said\n{output}"),
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
