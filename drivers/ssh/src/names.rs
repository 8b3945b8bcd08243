//! The names of clusters on hosts, which several homes, users and computers may share.

use std::path::{Path, PathBuf};

use kcl_driver_api::Result;
use kcl_driver_local::names;
use sha2::{Digest, Sha256};

/// The names that a home's clusters have on hosts.
pub(crate) struct Names {
    home: PathBuf,
    /// The hash that an older kcl gave this computer and the home: eight hexadecimal digits.
    path: String,
}

impl Names {
    pub(crate) fn new(home: &Path) -> Self {
        let path = names::canonical(home).into_os_string().into_encoded_bytes();
        Names { home: home.to_owned(), path: hash(&[&path, &[0], &names::host_identity()]) }
    }

    /// Returns the name that a cluster has on hosts.
    pub(crate) fn there(&self, cluster: &str) -> Result<String> {
        let number = names::identity(&self.home, cluster)?.map(|number| hash(&[number.as_bytes()]));
        Ok(format!("{cluster}.{}", number.as_ref().unwrap_or(&self.path)))
    }
}

fn hash(parts: &[&[u8]]) -> String {
    let sha = parts.iter().fold(Sha256::new(), |sha, part| sha.chain_update(part));
    base16ct::lower::encode_string(&sha.finalize()[..4])
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
        let name = |home: &str| Names::new(Path::new(home)).there("a.b").unwrap();
        assert_eq!(name("/a"), name("/a/"));
        assert_ne!(name("/a"), name("/b"));
        assert_eq!(here(&name("/a")), "a.b");
    }

    #[test]
    fn computers_are_told_apart_by_the_number_of_the_home_and_older_clusters_keep_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let old = Names::new(dir.path()).there("kcl").unwrap();
        let there = |id: &str, by_path: &str| {
            std::fs::write(dir.path().join(".kcl"), format!("id {id}\n{by_path}")).unwrap();
            Names::new(dir.path()).there("kcl").unwrap()
        };
        let (one, two) = ("1".repeat(32), "2".repeat(32));
        assert_ne!(there(&one, ""), there(&two, ""));
        assert_eq!(there(&one, "by-path kcl\n"), old);
        assert_ne!(there(&one, "by-path other\n"), old);
    }
}
