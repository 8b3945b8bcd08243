//! A version is written in several files: the catalog, the `go.mod` of what is built, the addons. They are the same.

use std::fs;
use std::path::{Path, PathBuf};

use kcl::artifacts::catalog::{Artifact, CATALOG, GoBuild, Recipe};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns each artifact that Go builds, in each version.
fn built() -> Vec<(Artifact, GoBuild)> {
    let artifacts = CATALOG.artifacts.iter().flat_map(|definition| CATALOG.versions(definition));
    let go = |artifact: Artifact| match artifact.definition.build.as_ref()?.recipe.clone() {
        Recipe::Go(go) => Some((artifact, go)),
        _ => None,
    };
    artifacts.filter_map(go).collect()
}

/// Returns the source of a build with this name.
fn source(artifact: &Artifact, go: &GoBuild, name: &str) -> Option<String> {
    let source = go.sources.iter().find(|source| source.ends_with(name))?;
    Some(read(&root().join("images/components").join(artifact.fill(source))))
}

/// Returns the modules of a `go.mod` with their versions, replacements last.
fn modules(text: &str) -> Vec<(&str, &str)> {
    let words = text.lines().map(|line| line.split_whitespace().filter(|word| *word != "=>").collect::<Vec<_>>());
    words
        .filter_map(|words| {
            let version = words.iter().position(|word| word.starts_with('v') && word.contains('.'))?;
            Some((*words.get(version.checked_sub(1)?)?, words[version]))
        })
        .collect()
}

/// Returns the version of the module that a package belongs to.
fn version_of<'a>(package: &str, modules: &[(&'a str, &'a str)]) -> Option<&'a str> {
    let contains =
        |module: &str| package.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let fitting = modules.iter().filter(|(module, _)| contains(module));
    fitting.max_by_key(|(module, _)| module.len()).map(|(_, version)| *version)
}

#[test]
fn the_catalog_has_the_versions_that_are_built() {
    for (artifact, go) in built() {
        let module = source(&artifact, &go, "go.mod").expect("a go.mod");
        let modules = modules(&module);
        let packages: Vec<String> = match source(&artifact, &go, "main.go") {
            Some(program) => program.split('"').skip(1).step_by(2).map(str::to_owned).collect(),
            None => go.packages.clone(),
        };
        // Prometheus' module is below 1: 3.15.1 is v0.315.1.
        let wanted = match artifact.name() {
            "prometheus" => artifact.fill("v0.{major}{minor}.") + artifact.version.rsplit('.').next().expect("a patch"),
            _ => artifact.fill("v{version}"),
        };
        let found: Vec<_> = packages.iter().filter_map(|package| version_of(package, &modules)).collect();
        assert!(found.contains(&wanted.as_str()), "{} {wanted}: its go.mod has {found:?}", artifact.name());
    }
}

#[test]
fn the_parts_of_kubernetes_have_its_version() {
    for (artifact, go) in built().into_iter().filter(|(artifact, _)| artifact.name() == "kubernetes") {
        let module = source(&artifact, &go, "go.mod").expect("a go.mod");
        let replaced = module.lines().filter(|line| line.contains("=>"));
        let wanted = format!("v0{}", artifact.version.trim_start_matches(|letter| letter != '.'));
        for line in replaced {
            assert_eq!(line.split_whitespace().last(), Some(wanted.as_str()), "{line}");
        }
    }
}

#[test]
fn copied_files_are_of_the_version_that_is_downloaded() {
    for (artifact, go) in built() {
        let module = source(&artifact, &go, "go.mod").expect("a go.mod");
        for copies in &go.copies {
            let version = version_of(&copies.module, &modules(&module)).expect("it is required");
            let release = artifact.definition.release.as_ref().expect("a release");
            for file in &copies.files {
                let end = format!("/{version}/{file}");
                assert!(release.files.keys().any(|path| path.ends_with(&end)), "{}: {end}", artifact.name());
            }
        }
    }
}

#[test]
fn addons_have_the_version_of_their_program() {
    let toml = |path: PathBuf| -> toml::Table { read(&path).parse().expect("TOML") };
    let mut compared = 0;
    for folder in fs::read_dir(root().join("addons")).expect("addons") {
        let path = folder.expect("an addon").path().join("addon.toml");
        if !path.exists() {
            continue;
        }
        let addon = toml(path.clone());
        let image = addon.get("images").and_then(|images| images[0].as_str());
        let Some(image) = image.map(|image| toml(root().join(format!("images/oci/{image}.toml")))) else { continue };
        let Some(program) = image.get("version_of").and_then(|name| name.as_str()) else { continue };
        let version = CATALOG.artifact(program).expect("it is in the catalog").version;
        assert_eq!(addon["version"].as_str(), Some(version.as_str()), "{}", path.display());
        compared += 1;
    }
    assert!(compared >= 5, "{compared} addons were compared");
}
