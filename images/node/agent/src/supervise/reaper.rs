//! The only place that waits for processes.
//!
//! Process 1 inherits every orphan of the system, so it waits for any process and notifies the waiters of theirs. A
//! child cannot be missed between its start and its entry in the table: all of this is one thread, and the reaper runs
//! only after the code that started the child has returned to it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::rc::Rc;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::error::{Doing, Error, Result};

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The process exited with a code.
    Code(i32),
    /// The process was killed by this signal, which may be a real-time one.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "signal {number} ({signal})"),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

/// A running process.
pub(crate) struct Running {
    /// The id of the process.
    pub pid: Pid,
    /// The receiver of its end.
    pub exit: oneshot::Receiver<Exit>,
}

/// The table of waiters by process id.
#[derive(Clone, Default)]
pub(crate) struct Reaper {
    waiting: Rc<RefCell<HashMap<Pid, oneshot::Sender<Exit>>>>,
}

impl Reaper {
    /// Creates the table and begins to reap.
    pub(crate) fn start() -> Result<Reaper> {
        let reaper = Reaper::default();
        let mut children = signal(SignalKind::child()).doing(|| "listen for SIGCHLD".to_owned())?;
        let this = reaper.clone();
        tokio::task::spawn_local(async move {
            while children.recv().await.is_some() {
                this.reap();
            }
        });
        Ok(reaper)
    }

    fn reap(&self) {
        loop {
            // Not by nix, which knows no real-time signals: a process that one ended would be lost.
            let (pid, status) = match wait(WaitOptions::NOHANG) {
                Ok(Some(ended)) => ended,
                Err(Errno::INTR) => continue,
                Ok(None) | Err(_) => return,
            };
            let pid = Pid::from_raw(pid.as_raw_pid());
            let code = status.exit_status().map(Exit::Code);
            let Some(exit) = code.or_else(|| status.terminating_signal().map(Exit::Signal)) else { continue };
            if let Some(waiting) = self.waiting.borrow_mut().remove(&pid) {
                // The waiter may have been dropped.
                let _ = waiting.send(exit);
            }
        }
    }

    /// Starts a process.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Running> {
        let child = command.spawn()?;
        let pid = Pid::from_raw(child.id() as i32);
        let (sender, exit) = oneshot::channel();
        self.waiting.borrow_mut().insert(pid, sender);
        Ok(Running { pid, exit })
    }

    /// Runs a helper to its end, with `input` on its standard input. Its messages go to the console.
    pub(crate) async fn run(&self, mut command: Command, input: Option<&str>) -> Result<()> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.env("PATH", crate::paths::PATH).stdin(Stdio::null());
        if let Some(input) = input {
            // A pipe holds 64 KiB without a reader, so this does not block.
            let (reader, mut writer) = io::pipe().doing(|| "make a pipe".to_owned())?;
            writer.write_all(input.as_bytes()).doing(|| format!("write to {name}"))?;
            command.stdin(reader);
        }
        let running = self.spawn(&mut command).doing(|| format!("run {name}"))?;
        match running.exit.await {
            Ok(Exit::Code(0)) => Ok(()),
            Ok(exit) => Err(Error::Invalid(format!("{name} failed: {exit}; its message is on the console"))),
            Err(_) => Err(Error::Invalid(format!("{name} was lost"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::LocalSet;

    async fn exit_of(reaper: &Reaper, script: &str) -> Exit {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        reaper.spawn(&mut command).unwrap().exit.await.unwrap()
    }

    /// In a process of its own: it would take the children of other tests away from them.
    #[test]
    fn tells_how_processes_ended() {
        let mut own = Command::new(std::env::current_exe().unwrap());
        own.args(["--exact", "--ignored", "supervise::reaper::tests::with_a_reaper"]);
        let output = own.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    /// One test, as there can be only one reaper in a process.
    #[test]
    #[ignore = "only as a process of its own"]
    fn with_a_reaper() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let reaper = Reaper::start().unwrap();
            assert_eq!(exit_of(&reaper, "exit 7").await, Exit::Code(7));
            assert_eq!(exit_of(&reaper, "kill -9 $$").await, Exit::Signal(9));
            assert_eq!(exit_of(&reaper, "kill -40 $$").await, Exit::Signal(40));
            let mut command = Command::new("sh");
            command.args(["-c", "read line; test \"$line\" = hello"]);
            reaper.run(command, Some("hello\n")).await.unwrap();
        });
    }
}
