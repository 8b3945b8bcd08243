//! Becomes root on a host.

use std::io::{BufRead, BufReader, ErrorKind as ErrorKindIo, Write};

use kcl_driver_api::{Error, ErrorKind, Result};
use kcl_driver_local::task::blocking;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use tokio::sync::OnceCell;

/// The environment variable with the password of sudo, for when nobody can be asked.
pub const VARIABLE: &str = "KCL_SUDO_PASSWORD";

/// The characters that a terminal acts on by itself otherwise (termios(3)).
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const CTRL_U: u8 = 21;
const DELETE: u8 = 127;

/// The way to become root.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Sudo {
    /// The user is root.
    Root,
    /// The user has sudo without a password.
    Free,
    /// The user has sudo with this password.
    Password(String),
}

impl Sudo {
    /// Returns the command that runs a script by `sh` as root.
    pub(crate) fn command(&self, script: &str) -> String {
        let script = quoted(script);
        match self {
            Sudo::Root => format!("sh -c {script}"),
            Sudo::Free => format!("sudo -n sh -c {script}"),
            // -k: sudo always asks, so that the first line of the input is the password and nothing else.
            Sudo::Password(_) => format!("sudo -k -S -p '' sh -c {script}"),
        }
    }

    /// Returns the first bytes of the command's input.
    pub(crate) fn input(&self) -> Vec<u8> {
        match self {
            Sudo::Root | Sudo::Free => Vec::new(),
            Sudo::Password(password) => format!("{password}\n").into_bytes(),
        }
    }
}

/// Quotes a word for a shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Asks the user for the password, once for all hosts that share `asked`.
pub(crate) async fn ask_for_password(asked: &OnceCell<String>, host: &str) -> Result<String> {
    let asked = asked.get_or_try_init(|| async {
        let question = format!("Password for sudo on {host}, and on all hosts that want one: ");
        blocking(move || Ok(ask(&question))).await?.map_err(|error| {
            let message = format!("sudo on {host} wants a password, and nobody can be asked for it ({error})");
            Error::new(ErrorKind::Host, message).hint(format!(
                "put it into the variable {VARIABLE}, or log in as root, or let sudo ask for none (NOPASSWD)"
            ))
        })
    });
    asked.await.cloned()
}

/// Asks at the terminal, without showing the answer.
fn ask(question: &str) -> std::io::Result<String> {
    let mut terminal = std::fs::File::options().read(true).write(true).open("/dev/tty")?;
    let before = tcgetattr(&terminal)?;
    let mut silent = before.clone();
    // Ctrl-C comes as a character, so that the terminal shows what is typed again before kcl ends.
    silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
    terminal.write_all(question.as_bytes())?;
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &silent)?;
    let read = read_password(BufReader::new(&terminal));
    tcsetattr(&terminal, SetArg::TCSANOW, &before)?;
    terminal.write_all(b"\n")?;
    match read? {
        Some(password) => Ok(password),
        None => {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT)?;
            Err(ErrorKindIo::Interrupted.into())
        }
    }
}

/// Reads a line from a terminal that edits none; none if it is given up by Ctrl-C.
fn read_password(terminal: impl BufRead) -> std::io::Result<Option<String>> {
    let mut password = Vec::new();
    for byte in terminal.bytes() {
        match byte? {
            CTRL_C => return Ok(None),
            b'\n' | b'\r' | CTRL_D => break,
            BACKSPACE | DELETE => drop(password.pop()),
            CTRL_U => password.clear(),
            byte => password.push(byte),
        }
    }
    String::from_utf8(password).map(Some).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_edited_and_given_up_as_in_a_line() {
        let read = |text: &[u8]| read_password(text).unwrap();
        assert_eq!(read(b"secret\nrest").as_deref(), Some("secret"));
        assert_eq!(read(b"wrong\x15secrex\x7ft\r").as_deref(), Some("secret"));
        assert_eq!(read(b"secret").as_deref(), Some("secret"));
        assert_eq!(read(b"sec\x03ret\n"), None);
    }

    #[test]
    fn a_password_is_on_no_command_line() {
        let sudo = Sudo::Password("it's secret".into());
        assert_eq!(sudo.command("echo 'a'"), r"sudo -k -S -p '' sh -c 'echo '\''a'\'''");
        assert_eq!(sudo.input(), b"it's secret\n");
        assert_eq!(Sudo::Root.command("true"), "sh -c 'true'");
    }
}
