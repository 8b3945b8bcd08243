//! The user's own manifests: those that `--manifest` and the cluster file name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kube::Client;
use kube::api::DynamicObject;
use tokio::time::Instant;

use super::Bootstrap;
use crate::error::{Error, Id, Result};
use crate::kubernetes::{self, EXTENSIONS, Patience};
use crate::progress::Progress;

/// Reads manifests, before anything is made. A directory stands for the manifests in it, as for kubectl. If the cluster
/// exists, a manifest that cannot be read any more is a warning: the cluster has what was in it.
///
/// # Errors
/// `Usage` if one is not a manifest, or a new cluster's cannot be read.
pub fn read(paths: &[PathBuf], exists: bool, progress: &Progress) -> Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for path in paths {
        match contents(path) {
            Ok(contents) => {
                for (file, content) in contents {
                    objects.extend(kubernetes::documents(&format!("manifest {}", file.display()), content)?);
                }
            }
            Err(error) if exists => {
                let path = path.display();
                progress.warn(format!("manifest {path} cannot be read ({error}); the cluster keeps what was in it"));
            }
            Err(error) => {
                let message = format!("manifest {} cannot be read: {error}", path.display());
                return Err(Error::new(Id::FileUnusable, message).source(error));
            }
        }
    }
    Ok(objects)
}

/// Reads a file, or the manifests of a directory in the order of their names.
fn contents(path: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    if !path.is_dir() {
        return Ok(vec![(path.to_owned(), fs::read(path)?)]);
    }
    let entries: io::Result<Vec<PathBuf>> = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect();
    let is_manifest = |path: &PathBuf| path.is_file() && kubernetes::is_manifest(path);
    let mut files: Vec<PathBuf> = entries?.into_iter().filter(is_manifest).collect();
    files.sort();
    if files.is_empty() {
        return Err(io::Error::other(format!("it has no files that end in .{}", EXTENSIONS.join(", ."))));
    }
    files.into_iter().map(|file| fs::read(&file).map(|content| (file, content))).collect()
}

/// Applies the user's manifests.
pub(super) async fn apply(bootstrap: &Bootstrap<'_>, client: &Client, until: Instant) -> Result<()> {
    if bootstrap.manifests.is_empty() {
        return Ok(());
    }
    let step = bootstrap.progress.step("manifests", "Applying manifests");
    let applied =
        kubernetes::apply(client, bootstrap.manifests, Patience { progress: bootstrap.progress, until }).await;
    applied.map_err(|error| {
        let files: Vec<_> = bootstrap.state.spec.manifests.iter().map(|path| path.display().to_string()).collect();
        error.hint(format!("correct what is in {}, and run the same command again", files.join(", ")))
    })?;
    step.finish("Manifests applied");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[PathBuf], exists: bool) -> Result<Vec<String>> {
        let objects = read(paths, exists, &Progress::silent())?;
        Ok(objects.into_iter().filter_map(|object| object.metadata.name).collect())
    }

    #[test]
    fn a_directory_stands_for_its_manifests() {
        let folder = tempfile::tempdir().unwrap();
        let object = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
        for file in ["b.yml", "a.yaml", "c.json", "d.txt"] {
            fs::write(folder.path().join(file), object(&file[..1])).unwrap();
        }
        fs::create_dir(folder.path().join("deeper.yaml")).unwrap();
        fs::write(folder.path().join("deeper.yaml/e.yaml"), object("e")).unwrap();
        let single = folder.path().join("d.txt");
        assert_eq!(names(&[folder.path().to_owned(), single], false).unwrap(), ["a", "b", "c", "d"]);
        let error = names(&[folder.path().join("deeper.yaml/e.yaml"), "/none".into()], false).unwrap_err();
        assert!(error.message.starts_with("manifest /none cannot be read"), "{error}");
        fs::remove_file(folder.path().join("deeper.yaml/e.yaml")).unwrap();
        let error = names(&[folder.path().join("deeper.yaml")], false).unwrap_err();
        assert!(error.message.contains(".json, .yaml, .yml"), "{error}");
    }

    #[test]
    fn a_manifest_that_is_gone_stops_no_start_of_a_cluster_that_exists() {
        let folder = tempfile::tempdir().unwrap();
        let (there, gone) = (folder.path().join("a.yaml"), folder.path().join("gone.yaml"));
        fs::write(&there, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n").unwrap();
        assert_eq!(names(&[gone.clone(), there.clone()], true).unwrap(), ["a"]);
        assert!(names(&[gone, there.clone()], false).is_err());
        fs::write(&there, "a: b: c\n").unwrap();
        let error = names(std::slice::from_ref(&there), true).unwrap_err();
        assert!(error.message.starts_with(&format!("manifest {}, line 1: ", there.display())), "{error}");
    }
}
