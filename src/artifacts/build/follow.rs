//! The `go.mod` of a version that kcl has none for. It follows that of the published module: the same versions of all
//! dependencies, and the parts that are replaced by directories of the project's repository in the version in which they
//! are published. Its `go.sum` is made by Go, which asks the checksum database, and kept in the entry.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokio::process::Command;

use super::super::cache::trouble;
use super::super::catalog::Artifact;
use super::super::job::Job;
use super::super::{kubernetes, process};
use super::modules::go;
use crate::error::{Error, Id, Result};

/// The directory of an entry with the `go.mod` and `go.sum` that it was built with.
pub(crate) const KEPT: &str = "module";

const FILES: [&str; 2] = ["go.mod", "go.sum"];

/// A part of the output of `go list -m -json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    go_mod: PathBuf,
}

/// A part of the output of `go mod edit -json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Module {
    go: String,
    #[serde(default)]
    godebug: Option<Vec<Setting>>,
    require: Vec<Version>,
    #[serde(default)]
    replace: Option<Vec<Replacement>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Setting {
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    path: String,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Replacement {
    old: Version,
    new: Version,
}

/// Writes `go.mod` and `go.sum` of the main module in the directory `main` for the version of `upstream` that the artifact
/// has.
pub(super) async fn write(artifact: &Artifact, upstream: &str, main: &Path, log: &Path, job: &Job<'_>) -> Result<()> {
    let name = format!("{upstream}@v{}", artifact.version);
    job.say(&format!("downloading module {name}"), None);
    let mut list = go(Path::new("/"));
    list.args(["list", "-m", "-json", &name]).env("GOFLAGS", "");
    let listed = process::output(list).await.map_err(|error| unpublished(artifact, error))?;
    let listed: Listed = parse(&listed, "go list -m -json")?;
    let mut edit = Command::new("go");
    edit.args(["mod", "edit", "-json"]).arg(&listed.go_mod).current_dir("/");
    let module: Module = parse(&process::output(edit).await?, "go mod edit -json")?;
    let path = main.join(FILES[0]);
    fs::write(&path, text(&module, artifact, upstream)).map_err(|error| trouble("write", &path, error))?;
    // It adds the digests of what the programs need.
    let mut complete = go(main);
    complete.args(["list", "-mod=mod", "-deps", "-f", "{{with .Error}}{{.}}{{end}}", "."]);
    process::run_logged(complete, log, |line| {
        if let Some(module) = line.strip_prefix("go: downloading ") {
            job.say(&format!("downloading module {module}"), None);
        }
        !line.is_empty()
    })
    .await
}

/// Copies `go.mod` and `go.sum` into the entry.
pub(super) fn keep(main: &Path, partial: &Path) -> Result<()> {
    let to = partial.join(KEPT);
    fs::create_dir(&to).map_err(|error| trouble("make", &to, error))?;
    for file in FILES {
        let from = main.join(file);
        fs::copy(&from, to.join(file)).map_err(|error| trouble("copy", &from, error))?;
    }
    Ok(())
}

/// Returns the text of a `go.mod` that requires `upstream` and all that it requires.
fn text(module: &Module, artifact: &Artifact, upstream: &str) -> String {
    let (name, version) = (artifact.name(), &artifact.version);
    // The parts have the number of the whole with 0 for 1: v0.37.2.
    let part = format!("v0{}", version.trim_start_matches(|letter| letter != '.'));
    // Go names the program by the last part.
    let mut text = format!("module kcl/images/components/{name}\n\ngo {}\n", module.go);
    for Setting { key, value } in module.godebug.iter().flatten() {
        let _ = writeln!(text, "godebug {key}={value}");
    }
    let _ = writeln!(text, "require {upstream} v{version}");
    for Version { path, version } in &module.require {
        let _ = writeln!(text, "require {path} {version}");
    }
    let replaced: BTreeMap<_, _> =
        module.replace.iter().flatten().map(|Replacement { old, new }| (&old.path, new)).collect();
    for (old, new) in replaced {
        let _ = match new.version.as_str() {
            "" => writeln!(text, "replace {old} => {old} {part}"),
            version => writeln!(text, "replace {old} => {} {version}", new.path),
        };
    }
    text
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str, command: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::new(Id::ArtifactBuild, format!("`{command}`: {error}")))
}

/// Returns the error for a version that the module proxy does not have.
fn unpublished(artifact: &Artifact, error: Error) -> Error {
    let message = format!("{} is not published as a Go module: {}", artifact.title(), error.message);
    let error = Error::new(Id::ArtifactBuild, message).source(error);
    error.hint(format!("choose another version: `kcl version` lists them; {}", kubernetes::other_versions()))
}

#[cfg(test)]
mod tests {
    use super::super::super::catalog::CATALOG;
    use super::*;

    #[test]
    fn parts_of_the_repository_become_published_modules() {
        let json = r#"{"Module": {"Path": "k8s.io/kubernetes"}, "Go": "1.25.0", "Godebug": [{"Key": "default", "Value": "go1.25"}],
            "Require": [{"Path": "github.com/spf13/cobra", "Version": "v1.10.0"}, {"Path": "k8s.io/api", "Version": "v0.0.0"}],
            "Replace": [{"Old": {"Path": "k8s.io/api"}, "New": {"Path": "./staging/src/k8s.io/api"}},
                        {"Old": {"Path": "example.org/a"}, "New": {"Path": "example.org/b", "Version": "v2.0.0"}}]}"#;
        let module: Module = parse(json, "go mod edit").expect("it parses");
        let expected = "module kcl/images/components/kubernetes\n\ngo 1.25.0\ngodebug default=go1.25\n\
            require k8s.io/kubernetes v1.35.8\nrequire github.com/spf13/cobra v1.10.0\nrequire k8s.io/api v0.0.0\n\
            replace example.org/a => example.org/b v2.0.0\nreplace k8s.io/api => k8s.io/api v0.35.8\n";
        assert_eq!(text(&module, &CATALOG.kubernetes("1.35.8").expect("it may exist"), "k8s.io/kubernetes"), expected);
    }
}
