//! Directories of this host in all nodes.

use std::path::{Component, Path, PathBuf};

use kcl_driver_api::HostMount;
use kcl_node_spec::paths;

use crate::error::{Error, Id, Result};

/// Parses a directory of this host and its path in a node, `HOST:NODE[:ro|:rw]`. Relative directories count from `base`.
pub fn parse_mount(text: &str, base: &Path) -> std::result::Result<HostMount, String> {
    let wrong = |why: &str| {
        format!("\"{text}\" is not a mount: {why}; write DIRECTORY:NODE_PATH, such as ./src:/src or ./src:/src:ro")
    };
    let (rest, read_only) = match text.rsplit_once(':') {
        Some((rest, "ro")) => (rest, true),
        Some((rest, "rw")) => (rest, false),
        _ => (text, false),
    };
    // The node's path has no colon, which the host's may.
    let (source, target) = rest.rsplit_once(':').ok_or_else(|| wrong("it has no path in the node"))?;
    let target = PathBuf::from(target);
    let mut parts = target.components();
    if parts.next() != Some(Component::RootDir) || !parts.all(|part| matches!(part, Component::Normal(_))) {
        return Err(wrong("the path in the node must be absolute and without \"..\""));
    }
    if let Some(own) = NODES_OWN
        .iter()
        .chain(paths::VOLUMES)
        .map(Path::new)
        .find(|own| own.starts_with(&target) || target.starts_with(own))
    {
        return Err(wrong(&format!("{} belongs to the node itself", own.display())));
    }
    if source.is_empty() {
        return Err(wrong("it names no directory of this host"));
    }
    let home = std::env::home_dir().unwrap_or_default();
    let source = Path::new(source).strip_prefix("~").map_or_else(|_| base.join(source), |rest| home.join(rest));
    let source =
        source.canonicalize().map_err(|error| wrong(&format!("{} cannot be used: {error}", source.display())))?;
    if !source.is_dir() {
        return Err(wrong(&format!("{} is not a directory", source.display())));
    }
    // Normalized: without a slash at the end.
    Ok(HostMount { source, target: target.components().collect(), read_only })
}

/// Paths that belong to the node itself, in addition to its volumes.
const NODES_OWN: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc/cni",
    "/etc/kcl",
    "/etc/kubernetes",
    "/lib",
    "/lib64",
    "/opt/kcl",
    "/proc",
    "/run/containerd",
    "/run/kcl",
    "/sbin",
    "/sys",
    "/usr",
];

/// Checks that mounts do not hide each other.
pub fn check_mounts(mounts: &[HostMount]) -> Result<()> {
    for (index, mount) in mounts.iter().enumerate() {
        let hides =
            |other: &&HostMount| other.target.starts_with(&mount.target) || mount.target.starts_with(&other.target);
        if let Some(other) = mounts[..index].iter().find(hides) {
            let problem = format!("mounts: one of {other} and {mount} hides the other in a node: use separate paths");
            return Err(Error::new(Id::MountInvalid, problem));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_name_a_directory_here_and_a_free_place_there() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path().canonicalize().unwrap();
        std::fs::create_dir(here.join("a:b")).unwrap();
        let text = |rest: &str| format!("{}{rest}", here.display());
        for (rest, right) in [
            (":/src", text(":/src")),
            (":/src/:ro", text(":/src:ro")),
            ("/a:b:/var/src:rw", text("/a:b:/var/src")),
            ("/../", String::new()),
        ] {
            match parse_mount(&text(rest), Path::new("")) {
                Ok(mount) => assert_eq!(mount.to_string(), right),
                Err(problem) => assert!(right.is_empty() && problem.contains("no path in the node"), "{problem}"),
            }
        }
        for (rest, why) in [
            (":src", "absolute"),
            (":/a/../b", "absolute"),
            (":/", "the node itself"),
            (":/var", "the node itself"),
            (":/proc/x", "the node itself"),
            ("/missing:/src", "cannot be used"),
        ] {
            let problem = parse_mount(&text(rest), Path::new("")).unwrap_err();
            assert!(problem.contains(why), "{problem}");
        }
        assert_eq!(parse_mount("a:b:/src", &here).unwrap().source, here.join("a:b"));
        assert!(parse_mount(":/src", &here).unwrap_err().contains("names no directory"));
    }
}
