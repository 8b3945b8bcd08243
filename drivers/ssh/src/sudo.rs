//! Becomes root on a host.

use std::io::{BufRead, BufReader, Write};

use kcl_driver_api::{Error, ErrorKind, Result};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use tokio::sync::OnceCell;

/// The environment variable with the password of sudo, for when nobody can be asked.
pub const VARIABLE: &str = "KCL_SUDO_PASSWORD";

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
        let asked = tokio::task::spawn_blocking(move || ask(&question)).await;
        asked.map_err(|error| Error::engine(format!("a task died: {error}")))?.map_err(|error| {
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
    silent.local_flags.remove(LocalFlags::ECHO);
    terminal.write_all(question.as_bytes())?;
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &silent)?;
    let mut password = String::new();
    let read = BufReader::new(&terminal).read_line(&mut password);
    tcsetattr(&terminal, SetArg::TCSANOW, &before)?;
    terminal.write_all(b"\n")?;
    read?;
    Ok(password.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_on_no_command_line() {
        let sudo = Sudo::Password("it's secret".into());
        assert_eq!(sudo.command("echo 'a'"), r"sudo -k -S -p '' sh -c 'echo '\''a'\'''");
        assert_eq!(sudo.input(), b"it's secret\n");
        assert_eq!(Sudo::Root.command("true"), "sh -c 'true'");
    }
}
