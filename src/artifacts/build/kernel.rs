//! The kernel of virtual machines: Debian's, unpacked rather than installed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::super::cache::trouble;
use super::super::catalog::Artifact;
use super::super::embedded;
use super::super::job::Job;
use super::debian;
use crate::error::{Error, Id, Result};
use crate::task::blocking;

/// A hook of mmdebstrap that creates the indexes for loading modules by name (depmod(8)).
const INDEX: &str = r#"--extract-hook=chroot "$1" depmod -a "$(ls "$1/lib/modules")""#;

/// The contents of `images/node/kernel.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    suite: String,
    package: BTreeMap<String, String>,
}

/// Returns the release and the package of a definition.
pub(super) fn packages(name: &str, arch: &str) -> Result<(String, Vec<String>)> {
    let mut definition: Definition = embedded::definition(name)?;
    Ok((definition.suite, definition.package.remove(arch).into_iter().collect()))
}

/// Builds `vmlinuz` and the archive of modules into `partial`.
pub(super) async fn build(
    artifact: &Artifact,
    name: &str,
    partial: &Path,
    log: &Path,
    job: &Job<'_>,
) -> Result<Vec<String>> {
    let definition: Definition = embedded::definition(name)?;
    let package = definition.package.get(artifact.arch).ok_or_else(|| {
        Error::new(
            Id::ArtifactUnavailable,
            format!("{} is unavailable for the architecture {}", artifact.title(), artifact.arch),
        )
    })?;
    let tar =
        debian::extract(artifact, &definition.suite, &[package.as_str(), "kmod"], &[INDEX], partial, log, job).await?;
    let partial = partial.to_owned();
    job.say("compressing", None);
    let kernel = blocking(move || {
        let kernel = take(&tar, &partial).map_err(|error| trouble("take the kernel out of", &tar, error))?;
        std::fs::remove_file(&tar).map_err(|error| trouble("remove", &tar, error))?;
        Ok(kernel)
    })
    .await?;
    Ok(vec![format!("Debian {} {package}", definition.suite), kernel])
}

/// Extracts the kernel and its modules from the archive of the unpacked packages. Returns the kernel's name.
fn take(tar: &Path, partial: &Path) -> io::Result<String> {
    let mut modules = tar::Builder::new(zstd::Encoder::new(File::create(partial.join("modules.tar.zst"))?, 0)?);
    let mut kernel = None;
    for entry in tar::Archive::new(File::open(tar)?).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let path = path.strip_prefix(".").unwrap_or(&path).to_owned();
        if path.starts_with("boot")
            && path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"vmlinuz-"))
        {
            io::copy(&mut entry, &mut File::create(partial.join("vmlinuz"))?)?;
            kernel = path.file_name().map(|name| name.to_string_lossy().into_owned());
        } else if path.starts_with("lib/modules") {
            let mut header = entry.header().clone();
            match entry.link_name()?.map(|link| link.into_owned()) {
                Some(link) => modules.append_link(&mut header, &path, link)?,
                None => modules.append_data(&mut header, &path, &mut entry)?,
            }
        }
    }
    modules.into_inner()?.finish()?.sync_all()?;
    kernel.ok_or_else(|| io::Error::other("there is no /boot/vmlinuz-…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_kernel_and_its_modules_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let tar = directory.path().join("all.tar");
        let mut builder = tar::Builder::new(File::create(&tar).expect("a file"));
        for (path, text) in [
            ("./boot/vmlinuz-6.1", "kernel"),
            ("./boot/config-6.1", "x"),
            ("./lib/modules/6.1/a.ko", "a"),
            ("./bin/sh", "x"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, text.as_bytes()).expect("an entry");
        }
        builder.into_inner().expect("an archive");
        assert_eq!(take(&tar, directory.path()).expect("a kernel"), "vmlinuz-6.1");
        assert_eq!(std::fs::read(directory.path().join("vmlinuz")).expect("the kernel"), b"kernel");
        let modules = File::open(directory.path().join("modules.tar.zst")).expect("the modules");
        let mut modules = tar::Archive::new(zstd::Decoder::new(modules).expect("an archive"));
        let names: Vec<_> =
            modules.entries().expect("entries").map(|one| one.unwrap().path().unwrap().into_owned()).collect();
        assert_eq!(names, [Path::new("lib/modules/6.1/a.ko")]);
    }

    #[test]
    fn the_definition_is_whole() {
        let definition: Definition = embedded::definition("kernel.toml").expect("it parses");
        assert!(definition.package.contains_key("amd64"));
    }
}
