//! The keys of hosts: `known_hosts` as ssh(1) keeps it, and the question about a new host.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use kcl_driver_api::{Error, ErrorKind, Result};
use russh::keys::known_hosts::{known_host_keys_path, learn_known_hosts_path};
use russh::keys::{Algorithm, HashAlg, PublicKey};

/// The port of SSH.
pub const PORT: u16 = 22;

/// The flag that accepts keys of new hosts without a question.
const FLAG: &str = "--accept-host-key";

/// The keys that this computer's administrator knows (sshd(8)).
const SYSTEM: &str = "/etc/ssh/ssh_known_hosts";

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
        self.known(&place(address, port), address, port).into_iter().map(|known| known.key.algorithm()).collect()
    }

    /// Returns the keys that are known of a host.
    fn known(&self, place: &str, address: &str, port: u16) -> Vec<Known> {
        let mut all = Vec::new();
        for file in [self.file.as_path(), Path::new(SYSTEM)] {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            // Names that are not hashed, and after them those that are.
            let mut keys = plain(&text, place);
            let hashed = known_host_keys_path(address, port, file).unwrap_or_default().into_iter();
            let hashed: Vec<_> = hashed.filter(|(_, key)| keys.iter().all(|(_, known)| known != key)).collect();
            keys.extend(hashed);
            all.extend(keys.into_iter().map(|(line, key)| Known { file: file.to_owned(), line, key }));
        }
        all
    }

    /// Returns true if a key is marked as revoked, of whatever host.
    fn is_revoked(&self, key: &PublicKey) -> bool {
        [self.file.as_path(), Path::new(SYSTEM)].iter().any(|file| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let mut revoked = text.lines().filter_map(|line| line.trim().strip_prefix("@revoked"));
            revoked.any(|line| line.split_whitespace().nth(2).is_some_and(|found| is_key(key, found)))
        })
    }

    /// Checks that the key is the host's, and treats a new host as configured.
    pub(crate) async fn check(&self, address: &str, port: u16, key: &PublicKey) -> Result<()> {
        let place = place(address, port);
        if self.is_revoked(key) {
            let message = format!("the key of host {place} is revoked: {}", fingerprint(key));
            return Err(
                Error::new(ErrorKind::HostKey, message).hint("somebody may be in between: ask who runs the host")
            );
        }
        let known = self.known(&place, address, port);
        if known.iter().any(|known| known.key.key_data() == key.key_data()) {
            return Ok(());
        }
        // A key of another kind is another key too: whoever is in between chooses the kind.
        let same_kind = known.iter().find(|known| known.key.algorithm() == key.algorithm());
        if let Some(known) = same_kind.or(known.first()) {
            return Err(changed(&place, &known.file, known.line, key));
        }
        match self.unknown {
            Unknown::Accept => {}
            Unknown::Refuse => {
                let message = format!("the host {place} is not known; its key is {}", fingerprint(key));
                let hint = format!("compare and keep its key with: ssh -p {port} {address}");
                return Err(Error::new(ErrorKind::HostKey, message).hint(hint));
            }
            Unknown::Ask => ask(&place, key).await?,
        }
        learn_known_hosts_path(address, port, key, &self.file).map_err(|error| {
            let message = format!("the key of {place} cannot be kept in {}: {error}", self.file.display());
            Error::new(ErrorKind::Host, message)
        })
    }
}

/// A key that is known of a host.
struct Known {
    file: PathBuf,
    line: usize,
    key: PublicKey,
}

/// Returns the name of a host in the files.
fn place(address: &str, port: u16) -> String {
    if port == PORT { address.to_owned() } else { format!("[{address}]:{port}") }
}

/// Returns the keys of a host in the lines whose names are not hashed, with their numbers (sshd(8), SSH_KNOWN_HOSTS FILE
/// FORMAT).
fn plain(text: &str, place: &str) -> Vec<(usize, PublicKey)> {
    let lines = text.lines().enumerate();
    let keys = lines.filter_map(|(index, line)| {
        let mut words = line.split_whitespace();
        let names = words.next().filter(|names| !names.starts_with(['#', '@', '|']))?;
        let (kind, key) = (words.next()?, words.next()?);
        let key = matches(names, place).then(|| PublicKey::from_openssh(&format!("{kind} {key}")))?;
        Some((index + 1, key.ok()?))
    });
    keys.collect()
}

/// Returns true if a list of patterns names a host: one does, and none that begins with `!`.
fn matches(patterns: &str, place: &str) -> bool {
    let is_like = |pattern: &str| glob(pattern.to_ascii_lowercase().as_bytes(), place.to_ascii_lowercase().as_bytes());
    let mut named = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(other) if is_like(other) => return false,
            Some(_) => {}
            None => named |= is_like(pattern),
        }
    }
    named
}

/// Matches a pattern in which `*` stands for any text and `?` for a character.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => glob(rest, text) || text.split_first().is_some_and(|(_, text)| glob(pattern, text)),
        (Some((wanted, pattern)), Some((found, text))) => (*wanted == b'?' || wanted == found) && glob(pattern, text),
        _ => false,
    }
}

/// Returns true if a word of a file is this key.
fn is_key(key: &PublicKey, word: &str) -> bool {
    key.to_openssh().is_ok_and(|text| text.split(' ').nth(1) == Some(word))
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
    Error::new(ErrorKind::HostKey, message).hint(hint)
}

async fn ask(place: &str, key: &PublicKey) -> Result<()> {
    let shown = fingerprint(key);
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let message = format!("the host {place} is not known; its key is {shown}");
        return Err(Error::new(ErrorKind::HostKey, message)
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
    let answer = answer.await.map_err(|error| Error::new(ErrorKind::Internal, format!("a task died: {error}")))??;
    if answer.trim().eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    Err(Error::new(ErrorKind::HostKey, format!("the key of host {place} was not accepted")))
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

    #[tokio::test]
    async fn a_key_of_another_kind_is_no_new_host_and_a_revoked_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let known = KnownHosts { file: dir.path().join("known_hosts"), unknown: Unknown::Accept };
        let (key, other) = (PublicKey::from_openssh(KEY).unwrap(), PublicKey::from_openssh(OTHER).unwrap());
        let of_kind = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=";
        std::fs::write(&known.file, format!("# mine\nfar {of_kind}\n")).unwrap();
        let changed = known.check("far", 22, &key).await.unwrap_err();
        assert!(changed.message.contains("has changed") && changed.message.contains("line 2"), "{}", changed.message);
        assert_eq!(std::fs::read_to_string(&known.file).unwrap().lines().count(), 2, "nothing was added");
        std::fs::write(&known.file, format!("@revoked * {KEY}\n*.example.com,!bad.example.com\t{OTHER} comment\n"))
            .unwrap();
        let revoked = known.check("new", 22, &key).await.unwrap_err();
        assert!(revoked.message.contains("revoked"), "{}", revoked.message);
        known.check("a.example.com", 22, &other).await.unwrap();
        assert!(known.algorithms("bad.example.com", 22).is_empty());
    }
}
