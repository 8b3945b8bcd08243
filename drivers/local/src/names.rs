//! Checks the parts of names on this host: the home, and the names of clusters and machines.

use std::path::{Path, PathBuf};

use kcl_driver_api::{Error, ErrorKind, Result};
use kcl_files::Owned;

use crate::context::Context as _;

/// Returns the path without symbolic links as far as it exists, so that a home has one hash before and after it is
/// made.
pub fn canonical(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for ancestor in absolute.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            let rest = absolute.strip_prefix(ancestor).unwrap_or(Path::new(""));
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    absolute
}

/// The file whose content is unique to a host and permanent; in images of containers it is empty (machine-id(5)).
const MACHINE_ID: &str = "/etc/machine-id";

/// Returns the content of the host's `/etc/machine-id`.
pub fn machine_id() -> std::io::Result<Vec<u8>> {
    std::fs::read(MACHINE_ID)
}

/// Returns the identity of this host: its machine id, or else its name.
pub fn host_identity() -> Vec<u8> {
    machine_id().unwrap_or_else(|_| nix::unistd::gethostname().unwrap_or_default().into_encoded_bytes())
}

/// Returns the number of a home by which others than this host know its clusters. None if the home has none, or if an
/// older kcl named the cluster by the path of the home.
pub fn identity(home: &Path, cluster: &str) -> Result<Option<String>> {
    match Owned::of(home).with_context(|| format!("read the marker in {}", home.display()))? {
        Owned::Marked(marker) if !marker.by_path.contains(cluster) => Ok(Some(marker.id)),
        _ => Ok(None),
    }
}

/// Checks the name of a cluster or machine (`what`): it becomes a file name, a host name, and a part of the names of
/// control groups, units and processes.
pub fn check(what: &str, name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    if name.is_empty() || name.len() > 63 || !name.chars().all(good) || name.starts_with(['.', '-']) {
        return Err(Error::new(
            ErrorKind::State,
            format!(
                "{name:?} is not a valid name for a {what}: it must be 1 to 63 letters, digits, '-', '.' or '_', and start with a letter or digit"
            ),
        ));
    }
    Ok(())
}
