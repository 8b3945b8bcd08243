//! The names of clusters on hosts, which several homes, users and computers may share.

use std::path::Path;

use sha2::{Digest, Sha256};

/// The file that differs between computers and lasts (machine-id(5)).
const MACHINE_ID: &str = "/etc/machine-id";

/// The names that a home's clusters have on hosts.
pub(crate) struct Names {
    /// The hash of this computer and the home: eight hexadecimal digits.
    hash: String,
}

impl Names {
    pub(crate) fn new(home: &Path) -> Self {
        let computer = std::fs::read(MACHINE_ID)
            .unwrap_or_else(|_| nix::unistd::gethostname().unwrap_or_default().into_encoded_bytes());
        let mut sha = Sha256::new();
        sha.update(kcl_driver_local::names::canonical(home).into_os_string().into_encoded_bytes());
        sha.update([0]);
        sha.update(computer);
        Names { hash: base16ct::lower::encode_string(&sha.finalize()[..4]) }
    }

    /// Returns the name that a cluster has on hosts.
    pub(crate) fn there(&self, cluster: &str) -> String {
        format!("{cluster}.{}", self.hash)
    }
}

/// Returns the name that a cluster on a host has here.
pub(crate) fn here(there: &str) -> &str {
    there.rsplit_once('.').map_or(there, |(cluster, _)| cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_told_apart() {
        let name = |home: &str| Names::new(Path::new(home)).there("a.b");
        assert_eq!(name("/a"), name("/a/"));
        assert_ne!(name("/a"), name("/b"));
        assert_eq!(here(&name("/a")), "a.b");
    }
}
