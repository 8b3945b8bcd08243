//! Pins: digests of the files of releases that this kcl knows. Its data is `images/pins.toml`, which `make pins` writes.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::embedded;

/// The pins of this kcl.
pub static PINS: LazyLock<Pins> =
    LazyLock::new(|| Pins::parse(embedded::PINS).unwrap_or_else(|error| panic!("images/pins.toml: {error}")));

/// Digests of files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// SHA-256 digests in hexadecimal, by the file's path below the base of its release.
    pub sha256: BTreeMap<String, String>,
}

impl Pins {
    /// Reads pins from the text of their file.
    pub fn parse(text: &str) -> std::result::Result<Pins, toml::de::Error> {
        toml::from_str(text)
    }

    /// Returns the text of the file, with the comment at the beginning of the present one.
    pub fn text(&self) -> String {
        let comment: Vec<_> = embedded::PINS.lines().take_while(|line| line.starts_with('#')).collect();
        let pins: Vec<_> = self.sha256.iter().map(|(path, digest)| format!("{path:?} = {digest:?}\n")).collect();
        format!("{}\n\n[sha256]\n{}", comment.join("\n"), pins.concat())
    }

    /// Returns the digest of a file, if it is pinned.
    pub fn of(&self, path: &str) -> Option<&str> {
        self.sha256.get(path).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_written_as_it_is_read() {
        assert_eq!(PINS.text(), embedded::PINS);
        let pins = Pins { sha256: [("a/b".to_owned(), "00".to_owned())].into() };
        assert_eq!(Pins::parse(&pins.text()).expect("it parses"), pins);
    }
}
