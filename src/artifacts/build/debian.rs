//! The node root file system, built from Debian's packages.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokio::process::Command;

use super::super::cache::{remove, trouble};
use super::super::catalog::Artifact;
use super::super::job::Job;
use super::super::{embedded, process};
use crate::error::Result;
use crate::task::blocking;

const MIRROR: &str = "the build needs the Debian mirror of apt's configuration; it uses http_proxy";

/// The contents of `images/node/packages.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    suite: String,
    variant: String,
    packages: Vec<String>,
    exclude: Vec<String>,
    empty: Vec<String>,
}

/// Returns the release and the packages of a definition.
pub(super) fn packages(name: &str) -> Result<(String, Vec<String>)> {
    let definition: Definition = embedded::definition(name)?;
    Ok((definition.suite, definition.packages))
}

/// Builds the archive that the artifact provides into `partial`.
pub(super) async fn build(
    artifact: &Artifact,
    name: &str,
    partial: &Path,
    log: &Path,
    job: &Job<'_>,
) -> Result<Vec<String>> {
    let definition: Definition = embedded::definition(name)?;
    let tar = partial.join(".rootfs.tar");
    let mut command = enclosed("mmdebstrap");
    command.arg(format!("--variant={}", definition.variant));
    command.arg(format!("--include={}", definition.packages.join(",")));
    command.arg(format!("--architectures={}", artifact.arch));
    command.args(definition.exclude.iter().map(|path| format!("--dpkgopt=path-exclude={path}")));
    // Merges /usr by directory links; the package for it would depend on all of Perl.
    command.args(["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--format=tar"]);
    for path in &definition.empty {
        command.arg(format!("--customize-hook=find \"$1{path}\" -type f -delete"));
    }
    command.arg(&definition.suite).arg(&tar);
    let scratch = Scratch::new(partial)?;
    command.env("TMPDIR", &scratch.0);
    let mut packages = 0;
    process::run_logged(command, log, |line| {
        match line.strip_prefix("I: ").map(|line| line.trim_end_matches("...")) {
            // The steps of mmdebstrap itself, without those of its hooks.
            Some(what) if !what.contains('/') => job.say(what, None),
            _ if line.starts_with("Setting up ") => {
                packages += 1;
                job.say(&format!("{packages} packages installed"), None);
            }
            _ => {}
        }
        true
    })
    .await
    .map_err(|error| error.hint(MIRROR))?;
    let archive = partial.join(&artifact.definition.provides[0]);
    job.say("compressing", None);
    blocking(move || {
        compress(&tar, &archive).map_err(|error| trouble("write", &archive, error))?;
        std::fs::remove_file(&tar).map_err(|error| trouble("remove", &tar, error))
    })
    .await?;
    Ok(vec![format!("Debian {}", definition.suite)])
}

/// Unpacks packages of a Debian release, without installing them, into an archive in `partial`, and returns its path.
/// `options` are more options of mmdebstrap.
pub(super) async fn extract(
    artifact: &Artifact,
    suite: &str,
    packages: &[&str],
    options: &[&str],
    partial: &Path,
    log: &Path,
    job: &Job<'_>,
) -> Result<PathBuf> {
    let tar = partial.join(".packages.tar");
    let mut command = enclosed("mmdebstrap");
    command.args(["--variant=extract", "--format=tar"]).args(options);
    command.arg(format!("--include={}", packages.join(","))).arg(format!("--architectures={}", artifact.arch));
    command.arg(suite).arg(&tar);
    let scratch = Scratch::new(partial)?;
    command.env("TMPDIR", &scratch.0);
    process::run_logged(command, log, |line| {
        if let Some(what) = line.strip_prefix("I: ").filter(|what| !what.contains('/')) {
            job.say(what.trim_end_matches("..."), None);
        }
        true
    })
    .await
    .map_err(|error| error.hint(MIRROR))?;
    Ok(tar)
}

/// Returns a command in its own namespaces, so that its processes and mounts end with it: mmdebstrap's workers continue
/// if it alone is killed. Without root, mmdebstrap creates such namespaces itself.
fn enclosed(program: &str) -> Command {
    if !nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["--fork", "--pid", "--mount", "--mount-proc", "--kill-child=SIGKILL", program]);
    command
}

/// The directory of mmdebstrap's chroot. It is not in the cache, which apt's own user may be unable to enter. Its name
/// follows from the entry's, so that the next run finds the remains of a killed one.
struct Scratch(PathBuf);

impl Scratch {
    fn new(partial: &Path) -> Result<Scratch> {
        let name = partial.file_stem().expect("an entry has a name").to_string_lossy();
        let path = std::env::temp_dir().join(format!("kcl-{name}"));
        remove(&path)?;
        std::fs::create_dir(&path).map_err(|error| trouble("make", &path, error))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next build removes it if this fails.
        let _ = remove(&self.0);
    }
}

fn compress(from: &Path, to: &Path) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(File::create(to)?, 0)?;
    io::copy(&mut File::open(from)?, &mut encoder)?;
    encoder.finish()?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_whole() {
        let definition: Definition = embedded::definition("packages.toml").expect("it parses");
        assert!(definition.packages.iter().any(|package| package == "nftables"));
        for path in definition.exclude.iter().chain(&definition.empty) {
            // They become part of a shell's command line.
            assert!(path.starts_with('/') && !path.contains(['"', '$', '`', '\\']), "{path}");
        }
    }
}
