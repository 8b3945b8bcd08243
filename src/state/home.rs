//! The home directory and the directories of clusters in it: which files are kcl's. Nothing else is removed or replaced.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use kcl_files::{Marker, Owned, TEMPORARY, remove_tree};

use crate::config;
use crate::error::{Error, Id, Result};

/// The file with the state of a cluster.
pub(super) const STATE: &str = "state.json";

/// The files of a cluster that nobody else makes: one of them is enough to know its directory.
const SIGNS: [&str; 8] =
    [STATE, "pki/ca.key", "network.json", "vm-network.json", "domain-network.json", "ssh.json", "guard", "loopback"];

/// Everything that kcl makes in the directory of a cluster.
const OURS: [&str; 17] = [
    STATE,
    "pki",
    "nodes",
    "vms",
    "domains",
    "network.json",
    "vm-network.json",
    "domain-network.json",
    "ssh.json",
    "addons",
    "charts",
    "kubeconfig",
    "kubeconfig.lock",
    "guard",
    "loopback",
    "manifests",
    "renewal",
];

/// Fails if the home is a directory of somebody else.
pub(super) fn check(home: &Path) -> Result<()> {
    match Owned::of(home).map_err(|error| unreadable(home, &error))? {
        Owned::Unmarked(entry) if !is_older(home) => Err(Error::new(
            Id::DirectoryForeign,
            format!("{} is not a directory of kcl's: it has other files in it, such as {entry}", home.display()),
        )
        .hint("set KCL_HOME to an empty directory or to a new one")
        .hint(format!("if kcl is to use this one all the same: touch {}", home.join(kcl_files::MARKER).display()))),
        _ => Ok(()),
    }
}

/// Marks the home as kcl's. The caller has checked it.
pub(super) fn mark(home: &Path) -> io::Result<()> {
    let clusters = std::fs::read_dir(home.join("clusters")).into_iter().flatten().flatten();
    let clusters = clusters.filter_map(|entry| entry.file_name().into_string().ok());
    let by_path: BTreeSet<String> = clusters
        .filter(|name| config::check_name(name).is_ok() && is_cluster(&home.join("clusters").join(name)))
        .collect();
    match Marker::ensure(home, by_path) {
        // A deletion frees space. Until there is a marker, clusters are named by the path, and it will list them.
        Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Ok(()),
        marked => marked.map(drop),
    }
}

/// Returns true if an older kcl, which made no marker, made the home: it has the state of a cluster, or nothing but the
/// two directories that every kcl makes and what belongs there.
fn is_older(home: &Path) -> bool {
    let entries = |directory: &str| std::fs::read_dir(home.join(directory)).map(|entries| entries.flatten());
    let (Ok(clusters), Ok(mut locks)) = (entries("clusters"), entries("locks")) else { return false };
    let mut clusters = clusters.map(|entry| entry.path()).peekable();
    let is_lock = |name: &str| name.ends_with(".lock") || name.ends_with(".console");
    match clusters.peek() {
        None => locks.all(|entry| entry.file_name().to_str().is_some_and(is_lock)),
        Some(_) => clusters.any(|cluster| is_cluster(&cluster)),
    }
}

/// Returns true if kcl made this directory of a cluster.
pub(super) fn is_cluster(directory: &Path) -> bool {
    SIGNS.iter().any(|sign| directory.join(sign).is_file())
}

/// Removes what kcl made in the directory of a cluster, the state last, and then the directory. Returns the names of
/// what others made there, which stays.
pub(super) fn remove(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let ours = is_cluster(directory);
    let mut others = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        if !ours || !is_ours(&text) {
            others.push(text.into_owned());
        } else if text != STATE {
            remove_entry(&directory.join(&name))?;
        }
    }
    if ours {
        remove_entry(&directory.join(STATE))?;
    }
    if others.is_empty() {
        std::fs::remove_dir(directory)?;
    }
    others.sort();
    Ok(others)
}

fn is_ours(name: &str) -> bool {
    let of = name.strip_suffix(".log").unwrap_or(name);
    OURS.contains(&of) || name.starts_with(TEMPORARY)
}

fn remove_entry(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => remove_tree(path),
        _ => kcl_files::remove(path),
    }
}

fn unreadable(home: &Path, error: &io::Error) -> Error {
    let message = format!("{}: cannot be used: {error}", home.display());
    let found = Error::new(Id::StateUnreadable, message);
    match error.kind() {
        io::ErrorKind::PermissionDenied => super::denied(found, home),
        _ => found.hint("set KCL_HOME to another directory"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            match file.strip_suffix('/') {
                Some(_) => fs::create_dir_all(&path).unwrap(),
                None => {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(&path, "x").unwrap();
                }
            }
        }
        dir
    }

    #[test]
    fn directories_of_others_are_refused() {
        for files in [
            &["clusters/staging/app.yaml"][..],
            &["clusters/staging/addons/app.yaml", "clusters/prod/kubeconfig", "locks/"],
            &["README.md"],
            &["locks/terraform.lock"],
            &["clusters/", "locks/go.mod"],
        ] {
            let dir = tree(files);
            let error = check(dir.path()).unwrap_err();
            assert_eq!(error.id, Id::DirectoryForeign, "{files:?}");
            assert!(error.message.contains("is not a directory of kcl's"), "{error}");
        }
    }

    #[test]
    fn what_older_kcls_made_is_taken_over_and_their_clusters_keep_their_names() {
        for (files, by_path) in [
            (&[][..], &[][..]),
            (&["clusters/", "locks/"], &[]),
            (&["clusters/", "locks/kcl.lock", "locks/kcl.console"], &[]),
            (
                &["clusters/a/state.json", "clusters/b/pki/ca.key", "clusters/no/file", "locks/", "pool.log"],
                &["a", "b"],
            ),
        ] {
            let dir = tree(files);
            check(dir.path()).unwrap();
            mark(dir.path()).unwrap();
            let Owned::Marked(marker) = Owned::of(dir.path()).unwrap() else { panic!("{files:?}") };
            assert_eq!(marker.by_path.iter().collect::<Vec<_>>(), by_path, "{files:?}");
            fs::write(dir.path().join("of a user"), "").unwrap();
            check(dir.path()).unwrap();
        }
    }

    #[test]
    fn removal_leaves_what_others_made() {
        let dir = tree(&["a/state.json", "a/pki/ca.key", "a/guard.log", "a/notes/of/mine", "a/.kcl-1-0"]);
        let cluster = dir.path().join("a");
        assert_eq!(remove(&cluster).unwrap(), ["notes"]);
        assert!(cluster.join("notes/of/mine").exists());
        assert_eq!(fs::read_dir(&cluster).unwrap().count(), 1);
        let foreign = tree(&["a/addons/mine", "a/kubeconfig"]);
        assert_eq!(remove(&foreign.path().join("a")).unwrap(), ["addons", "kubeconfig"]);
        assert!(foreign.path().join("a/addons/mine").exists());
        fs::create_dir(dir.path().join("empty")).unwrap();
        assert!(remove(&dir.path().join("empty")).unwrap().is_empty());
        assert!(!dir.path().join("empty").exists());
    }

    #[test]
    fn a_link_is_removed_and_not_what_it_leads_to() {
        let (dir, other) = (tree(&["a/state.json"]), tree(&["precious"]));
        std::os::unix::fs::symlink(other.path(), dir.path().join("a/addons")).unwrap();
        assert!(remove(&dir.path().join("a")).unwrap().is_empty());
        assert!(other.path().join("precious").exists() && !dir.path().join("a").exists());
    }
}
