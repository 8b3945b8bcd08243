//! The requirements of builds on the host. One error names all that are missing.

use std::path::Path;

use tokio::process::Command;

use super::super::catalog::{Artifact, Need, Recipe};
use super::super::process;
use crate::error::{Error, Id, Result};

/// Checks that the host meets the requirements of the builds of `artifacts`.
pub(crate) async fn check(artifacts: &[&Artifact]) -> Result<()> {
    let builds: Vec<_> = artifacts.iter().filter_map(|artifact| artifact.definition.build.as_ref()).collect();
    let mut missing = Vec::new();
    for need in builds.iter().flat_map(|build| &build.needs) {
        if !missing.contains(&need) && !present(need).await {
            missing.push(need);
        }
    }
    let go = builds.iter().any(|build| matches!(build.recipe, Recipe::Go(_))) && process::find("go").is_none();
    if missing.is_empty() && !go {
        return Ok(());
    }
    Err(error(go, &missing, process::find("apt-get").is_some()))
}

/// Checks that a directory's file system has space for a build that takes `mib` with cold caches. With warm ones it
/// takes a small part of that, so for less space a warning is returned.
///
/// # Errors
/// `Host` if there is not enough space even for a build with warm caches.
pub(super) fn space(directory: &Path, mib: u64) -> Result<Option<String>> {
    let Some(existing) = directory.ancestors().find(|path| path.exists()) else { return Ok(None) };
    let Ok(status) = nix::sys::statvfs::statvfs(existing) else { return Ok(None) };
    judge(existing, (status.blocks_available() * status.fragment_size()) >> 20, mib)
}

fn judge(directory: &Path, free: u64, mib: u64) -> Result<Option<String>> {
    let directory = directory.display();
    if free >= mib {
        return Ok(None);
    }
    let text = format!("{directory} has {free} MiB left; the build takes up to {mib} MiB");
    if free >= mib / 10 {
        return Ok(Some(text));
    }
    Err(Error::new(Id::DiskFull, text)
        .hint("free some space, or use another disk: XDG_CACHE_HOME, GOCACHE, GOMODCACHE"))
}

fn error(go: bool, missing: &[&Need], apt: bool) -> Error {
    let mut names: Vec<_> = missing.iter().filter_map(|need| name(need)).collect();
    if go {
        names.insert(0, "go");
    }
    let mut error = Error::new(Id::HostUnfit, format!("to build, this host lacks: {}", names.join(", ")));
    if go {
        error = error.hint("install Go 1.26 or newer (https://go.dev/dl) so that `go` is in PATH");
    }
    let mut packages: Vec<_> = missing.iter().map(|need| need.package.as_str()).collect();
    packages.dedup();
    match packages.as_slice() {
        [] => error,
        _ if apt => error.hint(format!("apt-get install -y {}", packages.join(" "))),
        _ => error.hint(format!(
            "install these (as Debian calls them) with this system's package manager: {}",
            packages.join(", ")
        )),
    }
}

fn name(need: &Need) -> Option<&str> {
    need.program.as_deref().or(need.library.as_deref()).or(need.file.as_deref())
}

async fn present(need: &Need) -> bool {
    if let Some(program) = &need.program
        && process::find(program).is_none()
    {
        return false;
    }
    if let Some(file) = &need.file
        && !Path::new(file).exists()
    {
        return false;
    }
    match &need.library {
        None => true,
        // The compiler prints a path for a library that it finds, and the bare name otherwise.
        Some(library) => {
            let mut command = Command::new("gcc");
            command.arg(format!("-print-file-name={library}"));
            process::output(command).await.is_ok_and(|path| Path::new(path.trim()).is_absolute())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(program: &str, package: &str) -> Need {
        Need { program: Some(program.into()), library: None, file: None, package: package.into() }
    }

    #[test]
    fn one_error_names_all_and_the_command() {
        let (gcc, debian) = (need("gcc", "gcc"), need("mmdebstrap", "mmdebstrap"));
        let error = error(true, &[&gcc, &debian], true);
        assert_eq!(error.message, "to build, this host lacks: go, gcc, mmdebstrap");
        assert_eq!(error.hints[1], "apt-get install -y gcc mmdebstrap");
        assert_eq!(error.id, Id::HostUnfit);
    }

    #[test]
    fn little_space_is_a_warning_and_none_an_error() {
        let directory = Path::new("/somewhere");
        assert_eq!(judge(directory, 5000, 5000).expect("enough"), None);
        assert!(judge(directory, 600, 5000).expect("enough for a warm cache").is_some());
        let error = judge(directory, 400, 5000).expect_err("too little");
        assert!(error.message.contains("/somewhere has 400 MiB left"), "{error}");
    }

    #[tokio::test]
    async fn what_is_not_there_is_missing() {
        assert!(present(&need("sh", "dash")).await);
        assert!(!present(&need("kcl-no-such-program", "x")).await);
    }
}
