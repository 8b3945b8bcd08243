//! Files of a Debian package, unpacked rather than installed.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::super::cache::trouble;
use super::super::catalog::Artifact;
use super::super::job::Job;
use super::debian;
use crate::error::{Error, Id, Result};
use crate::task::blocking;

/// Puts the files of a package into `partial`. `files` has their paths in the package and in the entry.
pub(super) async fn build(
    artifact: &Artifact,
    (suite, package, files): (&str, &str, &BTreeMap<String, String>),
    partial: &Path,
    log: &Path,
    job: &Job<'_>,
) -> Result<Vec<String>> {
    let tar = debian::extract(artifact, suite, &[package], &[], partial, log, job).await?;
    let (partial, wanted, name) = (partial.to_owned(), files.clone(), package.to_owned());
    blocking(move || {
        let missing = take(&tar, wanted, &partial).map_err(|error| trouble("unpack", &tar, error))?;
        fs::remove_file(&tar).map_err(|error| trouble("remove", &tar, error))?;
        match missing.first_key_value() {
            None => Ok(()),
            Some((file, _)) => Err(Error::new(Id::ArtifactIncomplete, format!("the package {name} has no {file}"))),
        }
    })
    .await?;
    Ok(vec![format!("Debian {suite} {package}")])
}

/// Extracts the files of `wanted` from the archive. Returns those that it lacks.
fn take(tar: &Path, mut wanted: BTreeMap<String, String>, partial: &Path) -> io::Result<BTreeMap<String, String>> {
    for entry in tar::Archive::new(File::open(tar)?).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        let Some(to) = wanted.remove(&path) else { continue };
        let to = partial.join(to);
        fs::create_dir_all(to.parent().expect("it is below"))?;
        io::copy(&mut entry, &mut File::create(&to)?)?;
        fs::set_permissions(&to, Permissions::from_mode(entry.header().mode()? & 0o777))?;
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_is_wanted_and_names_what_is_missing() {
        let directory = tempfile::tempdir().expect("a directory");
        let tar = directory.path().join("all.tar");
        let mut builder = tar::Builder::new(File::create(&tar).expect("a file"));
        for path in ["./usr/bin/busybox", "./usr/share/doc/x"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(2);
            header.set_mode(0o4755);
            builder.append_data(&mut header, path, &b"it"[..]).expect("an entry");
        }
        builder.into_inner().expect("an archive");
        let wanted = [("usr/bin/busybox", "bin/busybox"), ("usr/bin/none", "bin/none")];
        let wanted = wanted.map(|(from, to)| (from.to_owned(), to.to_owned())).into();
        let missing = take(&tar, wanted, directory.path()).expect("an archive");
        assert_eq!(missing.keys().collect::<Vec<_>>(), ["usr/bin/none"]);
        let program = directory.path().join("bin/busybox");
        assert_eq!(fs::read(&program).expect("the file"), b"it");
        assert_eq!(fs::metadata(&program).expect("the file").permissions().mode() & 0o7777, 0o755);
        assert!(!directory.path().join("usr").exists());
    }
}
