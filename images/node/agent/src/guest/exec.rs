//! Commands that the host runs.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kcl_node_spec::guest::{CHUNK, Reply, TerminalSize};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::port::Replies;
use crate::paths::PATH;

/// The exit codes of a shell for a missing program and for one that cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_RUNNABLE: i32 = 126;

/// A running command in a process group of its own. Dropping it kills the group.
pub(super) struct Running {
    /// `None` once the command has ended.
    group: Arc<Mutex<Option<Pid>>>,
    input: Option<Sender<Vec<u8>>>,
    terminal: Option<File>,
}

impl Running {
    /// Writes bytes to the command's input.
    pub(super) fn input(&self, bytes: Vec<u8>) {
        if let Some(input) = &self.input {
            // A command that has ended needs no input.
            let _ = input.send(bytes);
        }
    }

    /// Closes the command's input.
    pub(super) fn input_end(&mut self) {
        // A terminal has no end of input.
        if self.terminal.is_none() {
            self.input = None;
        }
    }

    /// Resizes the command's terminal.
    #[allow(unsafe_code)]
    pub(super) fn resize(&self, size: TerminalSize) {
        if let Some(terminal) = &self.terminal {
            let size = winsize(size);
            // SAFETY: the descriptor is a terminal's and the size lives for the call.
            unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &size) };
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = *self.group.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

fn winsize(size: TerminalSize) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Starts a command. If it cannot be started, reports that as a shell does and returns `None`.
pub(super) fn start(
    argv: &[String],
    env: &[(String, String)],
    terminal: Option<TerminalSize>,
    session: &str,
    replies: &Replies,
) -> Option<Running> {
    let Some((program, arguments)) = argv.split_first() else {
        replies.at_once(session, &Reply::Exit(NOT_RUNNABLE));
        return None;
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/").env_clear().env("PATH", PATH).env("HOME", "/root");
    command.envs(env.iter().map(|(key, value)| (key, value)));
    let result = match terminal {
        None => piped(command, session, replies),
        Some(size) => on_terminal(command, size, session, replies),
    };
    result
        .inspect_err(|error| {
            let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE };
            replies.at_once(session, &Reply::Complaint(BASE64.encode(format!("{program}: {error}\n"))));
            replies.at_once(session, &Reply::Exit(code));
        })
        .ok()
}

fn piped(mut command: Command, session: &str, replies: &Replies) -> io::Result<Running> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    let (input, feed) = channel();
    let stdin = child.stdin.take().expect("it was asked for");
    let outputs = [
        pump(child.stdout.take().expect("it was asked for"), session, replies, Reply::Output),
        pump(child.stderr.take().expect("it was asked for"), session, replies, Reply::Complaint),
    ];
    write_to(stdin, feed, session, replies);
    Ok(Running { group: watch(child, outputs, session, replies), input: Some(input), terminal: None })
}

#[allow(unsafe_code)]
fn on_terminal(mut command: Command, size: TerminalSize, session: &str, replies: &Replies) -> io::Result<Running> {
    let pair = openpty(Some(&winsize(size)), None)?;
    let (ours, its): (File, OwnedFd) = (pair.master.into(), pair.slave);
    command.stdin(its.try_clone()?).stdout(its.try_clone()?).stderr(its).env("TERM", "xterm-256color");
    let own = || {
        nix::unistd::setsid()?;
        // SAFETY: an ioctl on the terminal that is standard input by now.
        if unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    };
    // SAFETY: setsid(2) and ioctl(2) are async-signal-safe; nothing is allocated.
    unsafe { command.pre_exec(own) };
    let child = command.spawn()?;
    // The command holds the terminal's other end, which would keep it open.
    drop(command);
    let (input, feed) = channel();
    let outputs = [pump(ours.try_clone()?, session, replies, Reply::Output)];
    write_to(ours.try_clone()?, feed, session, replies);
    Ok(Running { group: watch(child, outputs, session, replies), input: Some(input), terminal: Some(ours) })
}

/// Sends everything that is read, until the end.
fn pump(
    mut from: impl Read + Send + 'static,
    session: &str,
    replies: &Replies,
    reply: fn(String) -> Reply,
) -> thread::JoinHandle<()> {
    let (session, replies) = (session.to_owned(), replies.clone());
    thread::spawn(move || {
        let mut buffer = vec![0; CHUNK];
        loop {
            match from.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A terminal ends with an error.
                Ok(0) | Err(_) => return,
                Ok(count) => replies.send(&session, &reply(BASE64.encode(&buffer[..count]))),
            }
        }
    })
}

fn write_to(mut to: impl Write + Send + 'static, feed: Receiver<Vec<u8>>, session: &str, replies: &Replies) {
    let (session, replies) = (session.to_owned(), replies.clone());
    thread::spawn(move || {
        for bytes in feed {
            // A command may end before it has read everything.
            let _ = to.write_all(&bytes);
            replies.send(&session, &Reply::Taken);
        }
    });
}

/// Waits for the end of the command and of its output.
fn watch(
    mut child: Child,
    outputs: impl IntoIterator<Item = thread::JoinHandle<()>> + Send + 'static,
    session: &str,
    replies: &Replies,
) -> Arc<Mutex<Option<Pid>>> {
    let pid = Pid::from_raw(child.id() as i32);
    let group = Arc::new(Mutex::new(Some(pid)));
    let (running, session, replies) = (group.clone(), session.to_owned(), replies.clone());
    thread::spawn(move || {
        // The process is not reaped yet, so its id cannot be reused while it may be killed by it.
        let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        let status = {
            let mut group = running.lock().unwrap_or_else(PoisonError::into_inner);
            *group = None;
            child.wait()
        };
        for output in outputs {
            let _ = output.join();
        }
        let code = status.ok().and_then(|status| status.code().or(status.signal().map(|signal| 128 + signal)));
        replies.send(&session, &Reply::Exit(code.unwrap_or(NOT_RUNNABLE)));
    });
    group
}
