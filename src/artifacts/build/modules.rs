//! Go modules as files: some are built from a modified copy, and files of some become part of an entry.
//!
//! Go's own `-overlay` would need no copy, but rejects files in the module cache.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokio::process::Command;

use super::super::cache::trouble;
use super::super::catalog::{Artifact, Copies, Patched};
use super::super::job::Job;
use super::super::{embedded, process};
use crate::error::{Error, Id, Result};
use crate::task::blocking;

/// The output of `go mod download -json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Download {
    dir: PathBuf,
    sum: String,
}

/// Returns the go command for a directory.
pub(super) fn go(directory: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(directory);
    // The cache may be inside a workspace, and the user's environment may cross-compile.
    command.env("GOWORK", "off").env("GO111MODULE", "on").env("GOOS", "linux").env_remove("GOARCH");
    command
}

/// Copies the patched modules into the main module, each into a directory of its path.
pub(super) async fn patch(artifact: &Artifact, all: &[Patched], main: &Path, job: &Job<'_>) -> Result<()> {
    for patched in all {
        let name = format!("{}@{}", patched.module, artifact.fill(&patched.version));
        job.say(&format!("downloading module {name}"), None);
        // It runs outside of the module, which refers to the copy, and without the checksum database, as the digest is
        // known.
        let mut command = go(Path::new("/"));
        command.args(["mod", "download", "-json", &name]).env("GONOSUMDB", &patched.module).env("GOFLAGS", "");
        let text = process::output(command).await?;
        let download: Download = serde_json::from_str(&text)
            .map_err(|error| Error::new(Id::ArtifactBuild, format!("`go mod download -json {name}`: {error}")))?;
        if download.sum != patched.sum {
            let message = format!("{name} is not what was published: expected {}, found {}", patched.sum, download.sum);
            return Err(Error::new(Id::ArtifactDigest, message).hint("check GOPROXY: a proxy may have changed it"));
        }
        let (patched, to) = (patched.clone(), main.join(&patched.module));
        blocking(move || lay(&patched, &download.dir, &to)).await?;
    }
    Ok(())
}

/// Copies `from` with the changes of `patched`, and without tests.
fn lay(patched: &Patched, from: &Path, to: &Path) -> Result<()> {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.map_err(|error| trouble("read", from, error.into()))?;
        let inner = entry.path().strip_prefix(from).expect("below");
        let path = to.join(inner);
        let name = inner.to_string_lossy();
        let skipped = patched.files.contains_key(&*name)
            || patched.without.iter().any(|without| inner.starts_with(without))
            || name.ends_with("_test.go");
        if entry.file_type().is_dir() {
            fs::create_dir_all(&path).map_err(|error| trouble("make", &path, error))?;
        } else if !skipped {
            // Files of the module cache are read-only, and `fs::copy` would keep that.
            let bytes = fs::read(entry.path()).map_err(|error| trouble("read", entry.path(), error))?;
            fs::write(&path, bytes).map_err(|error| trouble("write", &path, error))?;
        }
    }
    for (file, ours) in &patched.files {
        let path = to.join(file);
        let parent = path.parent().expect("it is below");
        fs::create_dir_all(parent).map_err(|error| trouble("make", parent, error))?;
        fs::write(&path, embedded::component(ours)?).map_err(|error| trouble("write", &path, error))?;
    }
    Ok(())
}

/// Copies files of modules into `partial`. The `go.mod` of the main module `main` has their versions.
pub(super) async fn copy(all: &[Copies], main: &Path, partial: &Path) -> Result<()> {
    for copies in all {
        let mut command = go(main);
        command.args(["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", &copies.module]);
        let module = PathBuf::from(process::output(command).await?.trim());
        let directory = partial.join(&copies.to);
        fs::create_dir_all(&directory).map_err(|error| trouble("make", &directory, error))?;
        for file in &copies.files {
            let (from, name) = (module.join(file), Path::new(file).file_name().expect("a file name"));
            let bytes = fs::read(&from).map_err(|error| trouble("read", &from, error))?;
            let to = directory.join(name);
            fs::write(&to, bytes).map_err(|error| trouble("write", &to, error))?;
        }
    }
    Ok(())
}
