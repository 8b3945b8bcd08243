//! Waits for the end of processes (pidfd_open(2)), and ends those that must not outlive kcl.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use kcl_driver_api::Result;
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{getpid, getppid};

use crate::context::Context as _;

/// The directories in which sudo(8) looks for programs everywhere.
const SECURE: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Returns the words that run this kcl with more rights and the user's directories. Elsewhere than in the system's
/// directories sudo finds no program by its name alone.
pub fn by_sudo() -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "kcl".into());
    match program.parent().is_some_and(|directory| SECURE.iter().any(|secure| Path::new(secure) == directory)) {
        true => "sudo -E kcl".to_owned(),
        false => format!("sudo -E {}", quoted(&program.to_string_lossy())),
    }
}

/// Quotes a word for a shell if it has to be.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Takes a secret out of this process's environment, so that the programs it runs do not get it and `/proc/PID/environ`
/// does not show it (proc_pid_environ(5)). To be called before there is a second thread.
#[allow(unsafe_code)]
pub fn take_variable(name: &CStr) -> Option<String> {
    let key = name.to_str().ok()?;
    let value = std::env::var(key).ok()?;
    // SAFETY: getenv(3) returns a string of this process's own memory, and no other thread reads the environment.
    unsafe {
        let text = libc::getenv(name.as_ptr());
        if !text.is_null() {
            std::ptr::write_bytes(text, b'x', libc::strlen(text));
        }
        std::env::remove_var(key);
    }
    Some(value)
}

/// The mask of modes that the user has set.
static UMASK: OnceLock<Mode> = OnceLock::new();

/// Sets the mask of this process's files to the usual one: with that of the user, files that run as root might be writable
/// for others, or files of nodes unreadable in them.
pub fn fix_umask() {
    UMASK.get_or_init(|| umask(Mode::from_bits_truncate(0o022)));
}

/// Makes a command run with the user's mask: it is the user's and not kcl's.
#[allow(unsafe_code)]
pub fn with_users_umask(command: &mut Command) -> &mut Command {
    let Some(mask) = UMASK.get().copied() else { return command };
    let restore = move || {
        umask(mask);
        Ok(())
    };
    // SAFETY: umask(2) is async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(restore) }
}

/// Waits for the end of the process `pid`, which `fd` stands for; false if it did not end in time.
pub fn wait(fd: &OwnedFd, pid: i32, limit: Duration) -> Result<bool> {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // The time is rounded up, as a remainder of less than a millisecond would spin.
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error).with_context(|| format!("wait for process {pid}")),
        }
    }
}

/// Makes the kernel kill the command when this process is killed, so that it does not continue unattended. The signal
/// comes when the thread that starts the command ends (PR_SET_PDEATHSIG(2const)), so that thread must wait for it.
#[allow(unsafe_code)]
pub fn tie(command: &mut Command) {
    let parent = getpid();
    let tied = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // An end before that call has sent no signal.
        if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    // SAFETY: prctl(2) and getppid(2) are async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(tied) };
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn sudo_finds_kcl_wherever_it_is() {
        // The program of this test is in no directory of the system.
        assert!(by_sudo().starts_with("sudo -E /"));
        assert_eq!(quoted("/home/it's me/bin/kcl"), r"'/home/it'\''s me/bin/kcl'");
    }

    #[test]
    fn a_tied_command_ends_with_its_starter() {
        let start = || {
            let mut command = Command::new("sleep");
            tie(&mut command);
            command.arg("1000").spawn().unwrap()
        };
        let mut child = std::thread::spawn(start).join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
    }
}
