//! The keys of hosts: `known_hosts` as ssh(1) keeps it, and the question about a new host.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use kcl_driver_api::{Error, ErrorKind, Result};
use russh::keys::known_hosts::{check_known_hosts_path, known_host_keys_path, learn_known_hosts_path};
use russh::keys::{Algorithm, HashAlg, PublicKey};

/// The port of SSH.
pub const PORT: u16 = 22;

/// The flag that accepts keys of new hosts without a question.
const FLAG: &str = "--accept-host-key";

/// The known keys of hosts, and the treatment of unknown ones.
#[derive(Clone, Debug)]
pub struct KnownHosts {
    /// The file with the keys, `~/.ssh/known_hosts`.
    pub file: PathBuf,
    /// The treatment of hosts that are not in it.
    pub unknown: Unknown,
}

/// The treatment of a host whose key is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The user is asked at the terminal; the key is then remembered.
    Ask,
    /// The key is remembered without a question.
    Accept,
    /// The host is refused.
    Refuse,
}

impl KnownHosts {
    /// Returns the kinds of keys that are known of a host.
    pub(crate) fn algorithms(&self, address: &str, port: u16) -> Vec<Algorithm> {
        let known = known_host_keys_path(address, port, &self.file).unwrap_or_default();
        known.into_iter().map(|(_, key)| key.algorithm()).collect()
    }

    /// Checks that the key is the host's, and treats a new host as configured.
    pub(crate) async fn check(&self, address: &str, port: u16, key: &PublicKey) -> Result<()> {
        let place = if port == PORT { address.to_owned() } else { format!("[{address}]:{port}") };
        match check_known_hosts_path(address, port, key, &self.file) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(russh::keys::Error::KeyChanged { line }) => return Err(changed(&place, &self.file, line, key)),
            Err(error) => {
                let message = format!("{} cannot be read: {error}", self.file.display());
                return Err(Error::new(ErrorKind::Host, message));
            }
        }
        match self.unknown {
            Unknown::Accept => {}
            Unknown::Refuse => {
                let message = format!("the host {place} is not known; its key is {}", fingerprint(key));
                let hint = format!("compare and keep its key with: ssh -p {port} {address}");
                return Err(Error::new(ErrorKind::Conflict, message).hint(hint));
            }
            Unknown::Ask => ask(&place, key).await?,
        }
        learn_known_hosts_path(address, port, key, &self.file).map_err(|error| {
            let message = format!("the key of {place} cannot be kept in {}: {error}", self.file.display());
            Error::new(ErrorKind::Host, message)
        })
    }
}

fn fingerprint(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

fn changed(place: &str, file: &Path, line: usize, key: &PublicKey) -> Error {
    let message = format!(
        "the key of host {place} has changed: it shows {}, and line {line} of {} has another. Somebody may be in between",
        fingerprint(key),
        file.display()
    );
    let hint =
        format!("if the host was reinstalled, remove its old key with: ssh-keygen -f {} -R {place}", file.display());
    Error::new(ErrorKind::Conflict, message).hint(hint)
}

async fn ask(place: &str, key: &PublicKey) -> Result<()> {
    let shown = fingerprint(key);
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let message = format!("the host {place} is not known; its key is {shown}");
        return Err(Error::new(ErrorKind::Conflict, message)
            .hint(format!("compare it with the host's own; if it is right, take it with {FLAG}")));
    }
    let question = format!("The host {place} is not known. Its key is {shown}.\nIs it right (yes or no)? ");
    let answer = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        // First the lock: there is one terminal for all questions.
        let mut terminal = std::io::stdin().lock();
        std::io::stderr().write_all(question.as_bytes())?;
        terminal.read_line(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    });
    let answer = answer.await.map_err(|error| Error::engine(format!("a task died: {error}")))??;
    if answer.trim().eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, format!("the key of host {place} was not accepted")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G2sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    #[tokio::test]
    async fn a_new_host_is_asked_about_a_known_one_is_not_and_a_changed_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut known = KnownHosts { file: dir.path().join("ssh/known_hosts"), unknown: Unknown::Ask };
        let (key, other) = (PublicKey::from_openssh(KEY).unwrap(), PublicKey::from_openssh(OTHER).unwrap());
        let new = known.check("10.0.0.5", 2222, &key).await.unwrap_err();
        assert!(new.message.contains("SHA256:") && new.hint.unwrap().contains(FLAG), "{}", new.message);
        known.unknown = Unknown::Accept;
        known.check("10.0.0.5", 2222, &key).await.unwrap();
        known.unknown = Unknown::Ask;
        known.check("10.0.0.5", 2222, &key).await.unwrap();
        assert_eq!(known.algorithms("10.0.0.5", 2222), [Algorithm::Ed25519]);
        let changed = known.check("10.0.0.5", 2222, &other).await.unwrap_err();
        assert!(changed.message.contains("line 2") && changed.message.contains("known_hosts"), "{}", changed.message);
        assert!(changed.hint.unwrap().contains("ssh-keygen"));
    }
}
