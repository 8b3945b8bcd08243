//! The target of a connection: a host, and the path to it.

use std::path::PathBuf;

use kcl_driver_api::{Error, ErrorKind, Result};
use kcl_ssh_client::PORT;
use serde::{Deserialize, Serialize};

/// A host and the path to it, as the user names them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// The host: `[USER@]ADDRESS[:PORT]`.
    pub host: Place,
    /// The private key; without one, the keys of the SSH agent and the usual ones below `~/.ssh` are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The host through which it is reached, with the same keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<Place>,
}

/// A place `[USER@]ADDRESS[:PORT]`, with an IPv6 address in brackets if a port follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Place {
    /// The user who logs in; none for the one who runs kcl.
    pub user: Option<String>,
    /// A name or an address.
    pub address: String,
    /// The port; none for [`PORT`].
    pub port: Option<u16>,
}

impl Place {
    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(PORT)
    }
}

impl std::str::FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Place> {
        let wrong = || {
            let message = format!("\"{text}\" is not a host: write it as [USER@]ADDRESS[:PORT], such as root@10.0.0.5");
            Error::new(ErrorKind::State, message)
        };
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, text),
        };
        let (address, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, "")) => (address, None),
            Some((address, port)) => (address, Some(port.strip_prefix(':').ok_or_else(wrong)?)),
            // More than one colon: an IPv6 address without a port.
            None if rest.matches(':').count() > 1 => (rest, None),
            None => match rest.split_once(':') {
                Some((address, port)) => (address, Some(port)),
                None => (rest, None),
            },
        };
        let port = port.map(str::parse).transpose().map_err(|_| wrong())?;
        let blank = |part: &str| part.is_empty() || part.contains(char::is_whitespace) || part.starts_with('-');
        if blank(address) || address.contains(['/', '[', ']']) || user.is_some_and(blank) || port == Some(0) {
            return Err(wrong());
        }
        Ok(Place { user: user.map(str::to_owned), address: address.to_owned(), port })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.port {
            Some(port) if self.address.contains(':') => write!(f, "[{}]:{port}", self.address),
            Some(port) => write!(f, "{}:{port}", self.address),
            None => f.write_str(&self.address),
        }
    }
}

impl From<Place> for String {
    fn from(place: Place) -> String {
        place.to_string()
    }
}

impl TryFrom<String> for Place {
    type Error = Error;

    fn try_from(text: String) -> Result<Place> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written() {
        let place = |user: Option<&str>, address: &str, port| Place {
            user: user.map(Into::into),
            address: address.into(),
            port,
        };
        for (text, wanted) in [
            ("10.0.0.5", place(None, "10.0.0.5", None)),
            ("root@node.example", place(Some("root"), "node.example", None)),
            ("a@b:2222", place(Some("a"), "b", Some(2222))),
            ("fd00::5", place(None, "fd00::5", None)),
            ("root@[fd00::5]:2222", place(Some("root"), "fd00::5", Some(2222))),
        ] {
            let read: Place = text.parse().unwrap();
            assert_eq!(read, wanted);
            assert_eq!(read.to_string(), text);
        }
        for text in ["", "@a", "a:", "a:x", "a:0", "a b", "-oProxyCommand=x", "[fd00::5", "a/b"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
