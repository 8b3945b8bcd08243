//! Names everything on the engine, and the labels by which it is found again.
//!
//! An engine may serve several users, homes and hosts. Names and labels contain a hash of the home's random number and the
//! cluster, so that clusters of the same name never collide.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base16ct::lower::encode_string;
use kcl_driver_api::{Error, ErrorKind, Result};
use kcl_driver_local::names;
use sha2::{Digest, Sha256};

/// The label with a hash of the home.
pub(crate) const HOME: &str = "kcl.docker.home";
/// The label with the cluster.
pub(crate) const CLUSTER: &str = "kcl.docker.cluster";
/// The label with the machine.
pub(crate) const MACHINE: &str = "kcl.docker.machine";
/// The label of a container with the specification that it was made from, as JSON.
pub(crate) const SPEC: &str = "kcl.docker.spec";

/// The suffix of a container's name until it is whole.
pub(crate) const HALF_MADE: &str = ".half-made";

/// The names of a home's clusters.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    home: PathBuf,
    /// The identity that an older kcl gave the home: its path, and its host where the engine is on another one.
    path: Vec<u8>,
}

/// The names of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct ClusterNames {
    /// The cluster's own name.
    pub cluster: String,
    /// The hash of the home.
    pub home: String,
    /// The hash of home and cluster: eight hexadecimal digits.
    pub hash: String,
}

/// The names of a machine.
#[derive(Clone, Debug)]
pub(crate) struct MachineNames {
    /// The names of the cluster.
    pub cluster: ClusterNames,
    /// The machine's own name.
    pub name: String,
}

impl Names {
    /// Returns the names of a home's clusters.
    pub(crate) fn new(home: &Path, local: bool) -> Self {
        let mut path = names::canonical(home).into_os_string().into_encoded_bytes();
        if !local {
            path.extend([0]);
            path.extend(names::host_identity());
        }
        Names { home: home.to_owned(), path }
    }

    /// Returns the labels that something of the home has: the first, and that of clusters of an older kcl.
    pub(crate) fn homes(&self) -> Result<Vec<String>> {
        let number = names::identity(&self.home, "")?.map(String::into_bytes);
        Ok(number.iter().chain([&self.path]).map(|identity| digest(identity, None)).collect())
    }

    pub(crate) fn cluster(&self, cluster: &str) -> Result<ClusterNames> {
        check_name("cluster", cluster)?;
        let identity = names::identity(&self.home, cluster)?.map_or_else(|| self.path.clone(), String::into_bytes);
        let (home, hash) = (digest(&identity, None), digest(&identity, Some(cluster)));
        Ok(ClusterNames { cluster: cluster.to_owned(), home, hash })
    }

    pub(crate) fn machine(&self, cluster: &str, name: &str) -> Result<MachineNames> {
        check_name("machine", name)?;
        Ok(MachineNames { cluster: self.cluster(cluster)?, name: name.to_owned() })
    }
}

fn digest(identity: &[u8], cluster: Option<&str>) -> String {
    let mut sha = Sha256::new();
    sha.update(identity);
    if let Some(cluster) = cluster {
        sha.update([0]);
        sha.update(cluster);
    }
    encode_string(&sha.finalize()[..4])
}

impl ClusterNames {
    /// Returns the name of the network.
    pub(crate) fn network(&self) -> String {
        format!("{}.{}", self.cluster, self.hash)
    }

    /// Returns the name of the network's bridge; at most 15 characters, the kernel's limit.
    pub(crate) fn bridge(&self) -> String {
        format!("kcld-{}", self.hash)
    }

    /// Returns the labels of everything that belongs to the cluster.
    pub(crate) fn labels(&self) -> HashMap<String, String> {
        [(HOME, &self.home), (CLUSTER, &self.cluster)].map(|(key, value)| (key.to_owned(), value.clone())).into()
    }
}

impl MachineNames {
    /// Returns the name of the container.
    pub(crate) fn container(&self) -> String {
        format!("{}.{}", self.name, self.cluster.hash)
    }

    /// Returns the name of the container while it is made.
    pub(crate) fn half_made(&self) -> String {
        self.container() + HALF_MADE
    }

    /// Returns the name of the volume at a path in the machine. No two paths have one name: a character other than a
    /// letter, a digit, `-` or `/` becomes its bytes in hexadecimal digits.
    pub(crate) fn volume(&self, target: &Path) -> String {
        let mut name = self.container() + ".";
        let relative = target.strip_prefix("/").unwrap_or(target);
        for byte in relative.as_os_str().as_encoded_bytes() {
            match byte {
                b'/' => name.push('_'),
                b'-' => name.push('-'),
                byte if byte.is_ascii_alphanumeric() => name.push(char::from(*byte)),
                byte => name.push_str(&format!(".{byte:02x}")),
            }
        }
        name
    }

    /// Returns the labels of everything that belongs to the machine.
    pub(crate) fn labels(&self) -> HashMap<String, String> {
        let mut labels = self.cluster.labels();
        labels.insert(MACHINE.to_owned(), self.name.clone());
        labels
    }
}

/// Returns the filters for everything with these labels.
pub(crate) fn labelled(labels: &HashMap<String, String>) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), labels.iter().map(|(key, value)| format!("{key}={value}")).collect())])
}

/// Checks a name, which becomes part of the names of containers, networks and volumes, and host names.
fn check_name(what: &str, name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    if name.is_empty() || name.len() > 63 || !name.chars().all(good) || name.starts_with(['.', '-', '_']) {
        return Err(Error::new(
            ErrorKind::State,
            format!(
                "{name:?} is not a valid name for a {what}: it must be 1 to 63 letters, digits, '-', '.' or '_', and start with a letter or digit"
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_hosts_and_clusters_have_different_names() {
        let names = |home: &str, local, cluster: &str| Names::new(Path::new(home), local).cluster(cluster).unwrap();
        let one = names("/a", true, "kcl");
        assert_eq!(one.hash, names("/a", true, "kcl").hash);
        for other in [names("/b", true, "kcl"), names("/a", false, "kcl"), names("/a", true, "kcl2")] {
            assert_ne!(one.network(), other.network());
        }
        assert_eq!(one.home, names("/a", true, "kcl2").home);
        assert!(one.bridge().len() <= 15);
    }

    #[test]
    fn homes_with_a_number_differ_even_where_all_else_is_the_same() {
        // Two containers with the socket of one engine: the paths are the same, and there is no machine-id.
        let dir = tempfile::tempdir().unwrap();
        let old = Names::new(dir.path(), true).cluster("kcl").unwrap();
        let hash = |id: &str, by_path: &str, local| {
            std::fs::write(dir.path().join(".kcl"), format!("id {id}\n{by_path}")).unwrap();
            let names = Names::new(dir.path(), local);
            (names.cluster("kcl").unwrap().hash, names.homes().unwrap())
        };
        let (one, two) = ("1".repeat(32), "2".repeat(32));
        assert_ne!(hash(&one, "", true).0, hash(&two, "", true).0);
        assert_ne!(hash(&one, "", false).0, hash(&two, "", false).0);
        assert_eq!(hash(&one, "", true).0, hash(&one, "", false).0);
        // Clusters of an older kcl keep their names.
        let (kept, homes) = hash(&one, "by-path kcl\n", true);
        assert_eq!(kept, old.hash);
        assert!(homes.len() == 2 && homes[1] == old.home);
    }

    #[test]
    fn volumes_do_not_collide() {
        let names = Names::new(Path::new("/a"), true).machine("kcl", "kcl").unwrap();
        let volume = |path: &str| names.volume(Path::new(path));
        assert!(volume("/var/lib/etcd").ends_with(".var_lib_etcd"));
        assert_ne!(volume("/a/b"), volume("/a_b"));
        assert_ne!(volume("/a/b"), volume("/a-b"));
    }

    #[test]
    fn names_that_engines_refuse_are_refused() {
        for name in ["", "..", "a/b", "-flag", "_a", "a b"] {
            assert!(Names::new(Path::new("/a"), true).machine("kcl", name).is_err(), "{name:?}");
        }
    }
}
