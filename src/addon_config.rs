//! The user's settings of addons, which `config` reads and `addons` checks against the addons that exist.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_client::Reference;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Id, Result};
use crate::text::is_dns_label;

/// The prefix of references to addons and charts in registries.
const SCHEME: &str = "oci://";

/// The settings of an addon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct AddonConfig {
    /// Enables or disables the addon; `None` leaves that to the addon's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The folder, archive or reference of a user's own addon. It is not saved, as the cluster keeps a copy.
    #[serde(skip)]
    pub source: Option<PathBuf>,
    /// Values that differ from the defaults.
    #[serde(flatten)]
    pub values: BTreeMap<String, serde_json::Value>,
}

/// Enables an addon, given by its name, or by the folder, archive or reference of a user's own. Returns its name.
///
/// # Errors
/// Those of [`locate`].
pub fn enable_addon(addons: &mut BTreeMap<String, AddonConfig>, word: &str) -> Result<String> {
    let (name, source) = match locate(word, Path::new(""))? {
        Some((name, source)) => (name, Some(source)),
        None => (word.to_owned(), None),
    };
    let config = addons.entry(name.clone()).or_default();
    config.enabled = Some(true);
    config.source = source;
    Ok(name)
}

/// Returns the name and the location of a user's own addon, or `None` if `word` is the plain name of an addon. A path has
/// a slash or the extension of an archive; a reference begins with `oci://`.
///
/// # Errors
/// `Usage` if the path does not exist, or its last part is not a name for an addon.
pub fn locate(word: &str, base: &Path) -> Result<Option<(String, PathBuf)>> {
    if word.starts_with(SCHEME) {
        let word = word.trim_end_matches('/');
        let reference = oci_reference(word)?;
        let name = reference.repository().rsplit('/').next().unwrap_or_default();
        return Ok(Some((checked(word, name)?, PathBuf::from(word))));
    }
    let is_archive = [".tar", ".tar.gz", ".tgz"].iter().any(|extension| word.ends_with(extension));
    if !word.contains('/') && !is_archive {
        return Ok(None);
    }
    let path = base.join(word);
    let path = path.canonicalize().map_err(|error| unreadable_addon(&path, &error))?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = file.split_once('.').map_or(file.as_str(), |(name, _)| name);
    Ok(Some((checked(word, name)?, path)))
}

/// Checks the name of a user's own addon.
fn checked(word: &str, name: &str) -> Result<String> {
    match is_dns_label(name) {
        true => Ok(name.to_owned()),
        false => {
            let message =
                format!("{word}: \"{name}\" is not a name for an addon: use lower-case letters, digits and '-'");
            Err(Error::new(Id::AddonInvalid, message).hint("rename its folder or archive"))
        }
    }
}

/// Returns true if the source of an addon is in a registry.
pub fn is_reference(source: &Path) -> bool {
    source.to_string_lossy().starts_with(SCHEME)
}

/// Parses the reference of an addon or a chart in a registry.
pub fn oci_reference(word: &str) -> Result<Reference> {
    let bare = word.strip_prefix(SCHEME).unwrap_or("");
    bare.parse().map_err(|error| {
        Error::new(Id::AddonInvalid, format!("{word} is not a reference to a registry: {error}"))
            .hint("write it as oci://HOST/NAME:TAG")
    })
}

/// Makes the error for an addon whose files cannot be read.
pub fn unreadable_addon(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Id::AddonInvalid, format!("{} cannot be read: {error}", path.display()))
        .hint("an addon is a folder with addon.toml and manifests, a tar archive of one, or oci://HOST/NAME:TAG")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addons_are_named_or_located() {
        let locate = |word: &str| locate(word, Path::new(""));
        assert_eq!(locate("ingress").unwrap(), None);
        let word = "oci://ghcr.io/me/addons/greet:1.0";
        assert_eq!(locate(word).unwrap(), Some(("greet".to_owned(), PathBuf::from(word))));
        assert!(locate("oci://Not A Reference").unwrap_err().hints[0].contains("oci://HOST/NAME:TAG"));
        assert!(locate("./none").unwrap_err().hints[0].contains("addon.toml"));
        let folder = tempfile::Builder::new().prefix("Not-A-Name").tempdir().unwrap();
        assert!(locate(&format!("{}/", folder.path().display())).unwrap_err().message.contains("is not a name"));
    }
}
