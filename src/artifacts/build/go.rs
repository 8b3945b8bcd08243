//! Go programs, built from published modules.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::super::cache::{remove, trouble};
use super::super::catalog::{Artifact, GoBuild};
use super::super::job::Job;
use super::super::{embedded, process};
use super::{follow, modules};
use crate::error::{Error, Id, Result};

/// Builds the programs of `recipe` into `partial`.
///
/// The user's `GOPROXY`, `GOFLAGS`, `GOCACHE` and the like are kept; variables that affect the program (mode, target,
/// linking) are set. Go's build cache makes it cheap to repeat an interrupted build.
pub(super) async fn build(
    artifact: &Artifact,
    recipe: &GoBuild,
    partial: &Path,
    log: &Path,
    job: &Job<'_>,
) -> Result<Vec<String>> {
    let module = partial.join(".module");
    std::fs::create_dir(&module).map_err(|error| trouble("make", &module, error))?;
    for source in &recipe.sources {
        let source = artifact.fill(source);
        let path = module.join(Path::new(&source).file_name().expect("a file name"));
        std::fs::write(&path, embedded::component(&source)?).map_err(|error| trouble("write", &path, error))?;
    }
    if let Some(upstream) = &recipe.follows {
        follow::write(artifact, upstream, &module, log, job).await.map_err(|error| registry_hint(error, artifact))?;
    }
    let version = go_version(&module).await?;
    modules::patch(artifact, &recipe.patched, &module, job).await?;

    let output = partial.join(&recipe.output);
    std::fs::create_dir_all(&output).map_err(|error| trouble("make", &output, error))?;
    let work = Work { artifact, recipe, module: &module, output: &output, log, job };
    let (apart, together): (Vec<_>, Vec<_>) =
        recipe.packages.iter().map(String::as_str).partition(|package| recipe.tags_of.contains_key(*package));
    if !together.is_empty() {
        work.packages(&together, &recipe.tags).await?;
    }
    for package in apart {
        work.packages(&[package], &recipe.tags_of[package]).await?;
    }
    modules::copy(&recipe.copies, &module, partial).await?;
    if recipe.follows.is_some() {
        follow::keep(&module, partial)?;
    }
    remove(&module)?;
    Ok(vec![version])
}

/// The build of one artifact.
struct Work<'a> {
    artifact: &'a Artifact,
    recipe: &'a GoBuild,
    module: &'a Path,
    output: &'a Path,
    log: &'a Path,
    job: &'a Job<'a>,
}

impl Work<'_> {
    async fn packages(&self, packages: &[&str], tags: &[String]) -> Result<()> {
        let (recipe, job) = (self.recipe, self.job);
        let tags = if tags.is_empty() { Vec::new() } else { vec!["-tags".to_owned(), tags.join(",")] };

        // This counts the packages, which are an upper bound, and downloads the modules.
        let mut total = 0;
        let mut list = go(self.module, recipe);
        list.args(["list", "-mod=readonly", "-deps", "-f", "kcl-dep"]).args(&tags).args(packages);
        self.run(list, |line| {
            if let Some(module) = line.strip_prefix("go: downloading ") {
                job.say(&format!("downloading module {module}"), None);
            }
            total += u64::from(line == "kcl-dep");
            line != "kcl-dep"
        })
        .await?;

        let mut command = go(self.module, recipe);
        command.args(["build", "-v", "-trimpath", "-buildvcs=false", "-mod=readonly"]).args(&tags);
        let linking = if recipe.cgo { " -extldflags -static" } else { "" };
        let ldflags = self.artifact.fill(&recipe.ldflags).split_whitespace().collect::<Vec<_>>().join(" ");
        command.arg("-ldflags").arg(format!("-s -w{linking} {ldflags}"));
        command.arg("-o").arg(format!("{}/", self.output.display())).args(packages);
        let mut done = 0;
        job.say("compiling", Some((0, total)));
        self.run(command, |line| {
            if let Some(module) = line.strip_prefix("go: downloading ") {
                job.say(&format!("downloading module {module}"), None);
            } else if !line.contains(' ') && !line.starts_with('#') {
                // `-v` prints the name of each package that is compiled, but not of those in Go's cache.
                done += 1;
                job.say(&format!("compiling, {done} of at most {total} packages"), Some((done, total)));
            }
            true
        })
        .await
    }

    async fn run(&self, command: Command, line: impl FnMut(&str) -> bool) -> Result<()> {
        process::run_logged(command, self.log, line).await.map_err(|error| registry_hint(error, self.artifact))
    }
}

fn go(module: &Path, recipe: &GoBuild) -> Command {
    let mut command = modules::go(module);
    command.env("CGO_ENABLED", if recipe.cgo { "1" } else { "0" });
    command
}

/// Returns the directories that grow with a build.
pub(super) async fn caches() -> Result<Vec<PathBuf>> {
    let mut command = Command::new("go");
    command.args(["env", "GOCACHE", "GOMODCACHE"]).current_dir("/");
    Ok(process::output(command).await?.lines().map(PathBuf::from).collect())
}

/// Returns the version of Go, if it is new enough for the module.
async fn go_version(module: &Path) -> Result<String> {
    let path = module.join("go.mod");
    let text = std::fs::read_to_string(&path).map_err(|error| trouble("read", &path, error))?;
    let wanted = wanted_version(&text).unwrap_or("1.21");
    let mut command = Command::new("go");
    // It runs outside of the module, so that Go reports its own version and not that of the toolchain it would fetch.
    command.args(["env", "GOVERSION", "GOTOOLCHAIN"]).current_dir("/").env("GOWORK", "off");
    let output = process::output(command).await?;
    let mut lines = output.lines();
    let version = lines.next().unwrap_or_default().to_owned();
    let fetches = lines.next().is_some_and(|toolchain| toolchain.contains("auto") || toolchain.contains("path"));
    if numbers(&version) >= numbers(wanted) || fetches {
        return Ok(version);
    }
    Err(Error::new(Id::HostUnfit, format!("this needs Go {wanted} or newer, and `go` is {version}"))
        .hint("install a newer Go (https://go.dev/dl), or set GOTOOLCHAIN=auto so that Go downloads one"))
}

/// Returns the version in the `go` line of a `go.mod`.
fn wanted_version(module: &str) -> Option<&str> {
    module.lines().find_map(|line| line.strip_prefix("go ")).map(str::trim)
}

fn numbers(version: &str) -> Vec<u64> {
    let version = version.strip_prefix("go").unwrap_or(version);
    let version = version.split(['-', ' ']).next().unwrap_or_default();
    let mut numbers: Vec<u64> = version.split('.').map(|part| part.parse().unwrap_or_default()).collect();
    numbers.resize(3, 0);
    numbers
}

fn registry_hint(error: Error, artifact: &Artifact) -> Error {
    if error.message.contains("dial tcp") || error.message.contains("i/o timeout") {
        return error.hint("Go's module proxy is unreachable: check GOPROXY and HTTPS_PROXY");
    }
    error.hint(format!("`kcl artifacts fetch` tries {} again; what was compiled stays in Go's cache", artifact.title()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("go1.26.8") >= numbers("1.26.6"));
        assert!(numbers("go1.26.10") >= numbers("1.26.6"));
        assert!(numbers("go1.27") >= numbers("1.26.6"));
        assert!(numbers("go1.19.8") < numbers("1.26"));
        assert!(numbers("go1.26.8 X:nodwarf5") >= numbers("1.26.8"));
        assert_eq!(wanted_version("module x\n\ngo 1.26.6\n"), Some("1.26.6"));
    }
}
