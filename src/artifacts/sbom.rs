//! The software bill of materials, in the format of CycloneDX 1.6: what kcl is compiled from (`Cargo.lock`), what it
//! downloads or builds (the catalog), and what that is built from (`go.mod` and `go.sum`, packages of Debian).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::catalog::{Artifact, CATALOG, GoBuild, Recipe};
use super::pins::PINS;
use super::{build, embedded, release};
use crate::error::{Error, Id, Result};

/// A part of `Cargo.lock`.
#[derive(Deserialize)]
struct Lock {
    package: Vec<Crate>,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// The components and their dependencies, each once.
#[derive(Default)]
struct Bill {
    components: BTreeMap<String, Value>,
    dependencies: BTreeMap<String, BTreeSet<String>>,
}

/// Returns the bill of this kcl.
pub fn document() -> Result<Value> {
    let mut bill = Bill::default();
    bill.crates()?;
    let kcl = crate_url("kcl", env!("CARGO_PKG_VERSION"));
    for definition in &CATALOG.artifacts {
        for artifact in CATALOG.versions(definition) {
            let url = bill.artifact(&artifact)?;
            bill.dependencies.entry(kcl.clone()).or_default().insert(url);
        }
    }
    let main = bill.components.remove(&kcl);
    let dependencies = bill.dependencies.iter().map(|(of, on)| json!({ "ref": of, "dependsOn": on }));
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": main },
        "components": bill.components.values().collect::<Vec<_>>(),
        "dependencies": dependencies.collect::<Vec<_>>(),
    }))
}

impl Bill {
    fn crates(&mut self) -> Result<()> {
        let lock: Lock =
            toml::from_str(embedded::LOCK).map_err(|error| Error::new(Id::Internal, format!("Cargo.lock: {error}")))?;
        // A dependency is `name`, or `name version` where the file has several.
        let url = |dependency: &String| {
            let (name, version) = dependency.split_once(' ').unwrap_or((dependency, ""));
            let found =
                lock.package.iter().find(|one| one.name == name && (version.is_empty() || one.version == version));
            found.map(|one| crate_url(&one.name, &one.version))
        };
        for one in &lock.package {
            let reference = crate_url(&one.name, &one.version);
            // kcl's own crates have no checksum, as no registry has them.
            let kind = if one.name == "kcl" { "application" } else { "library" };
            let mut component = json!({
                "type": kind, "bom-ref": reference, "name": one.name, "version": one.version, "purl": reference,
            });
            if let Some(checksum) = &one.checksum {
                component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
            }
            self.dependencies.insert(reference.clone(), one.dependencies.iter().filter_map(url).collect());
            self.components.insert(reference, component);
        }
        Ok(())
    }

    /// Adds an artifact and what it is made of. Returns its reference.
    fn artifact(&mut self, artifact: &Artifact) -> Result<String> {
        let (name, version) = (artifact.name(), &artifact.version);
        let reference = format!("pkg:generic/{name}@{version}");
        let released = artifact.definition.release.as_ref().and_then(|release| release.base.as_ref());
        let files =
            released.into_iter().flat_map(|base| release::paths(artifact).into_iter().map(move |path| (base, path)));
        let references = files.map(|(base, path)| {
            let mut file = json!({ "type": "distribution", "url": format!("{base}/{path}") });
            if let Some(digest) = PINS.of(&path) {
                file["hashes"] = json!([{ "alg": "SHA-256", "content": digest }]);
            }
            file
        });
        let component = json!({
            "type": "application", "bom-ref": reference, "name": name, "version": version, "purl": reference,
            "description": artifact.definition.title, "externalReferences": references.collect::<Vec<_>>(),
        });
        self.components.insert(reference.clone(), component);
        let parts = match artifact.definition.build.as_ref().map(|build| &build.recipe) {
            Some(Recipe::Go(go)) => self.modules(artifact, go)?,
            Some(Recipe::Package { suite, package, .. }) => self.packages(suite, std::slice::from_ref(package)),
            Some(Recipe::Debian { definition } | Recipe::Kernel { definition }) => {
                let (suite, packages) = build::packages(definition, artifact.arch)?;
                self.packages(&suite, &packages)
            }
            None => BTreeSet::new(),
        };
        self.dependencies.insert(reference.clone(), parts);
        Ok(reference)
    }

    /// Adds the modules that an artifact is built from.
    fn modules(&mut self, artifact: &Artifact, go: &GoBuild) -> Result<BTreeSet<String>> {
        let mut parts = BTreeSet::new();
        let read = |name: &str| -> Result<String> {
            let source = go.sources.iter().find(|source| source.ends_with(name));
            let bytes = source.map(|source| embedded::component(&artifact.fill(source))).transpose()?;
            Ok(String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned())
        };
        let (module, sums) = (read("go.mod")?, read("go.sum")?);
        for (path, version) in requirements(&module) {
            let reference = format!("pkg:golang/{path}@{version}");
            // Of modules without a needed package, Go keeps the digest of their go.mod only.
            let sum_of = |what: &str| sums.lines().find_map(|line| line.strip_prefix(what));
            let sum = sum_of(&format!("{path} {version} ")).or_else(|| sum_of(&format!("{path} {version}/go.mod ")));
            // Those that are built from a changed copy.
            let patched = go.patched.iter().find(|patched| patched.module == path);
            let sum = sum.or(patched.map(|patched| patched.sum.as_str()));
            let mut properties: Vec<_> =
                sum.into_iter().map(|sum| json!({ "name": "kcl:go.sum", "value": sum })).collect();
            properties.extend(patched.map(|_| json!({ "name": "kcl:patched", "value": "true" })));
            let component = json!({
                "type": "library", "bom-ref": reference, "name": path, "version": version, "purl": reference,
                "properties": properties,
            });
            self.components.insert(reference.clone(), component);
            parts.insert(reference);
        }
        Ok(parts)
    }

    /// Adds packages of Debian. Their versions are those that a build finds.
    fn packages(&mut self, suite: &str, packages: &[String]) -> BTreeSet<String> {
        let add = |package: &String| {
            let reference = format!("pkg:deb/debian/{package}?distro={suite}");
            let component = json!({ "type": "library", "bom-ref": reference, "name": package, "purl": reference });
            self.components.insert(reference.clone(), component);
            reference
        };
        packages.iter().map(add).collect()
    }
}

fn crate_url(name: &str, version: &str) -> String {
    format!("pkg:cargo/{name}@{version}")
}

/// Returns the modules that a `go.mod` requires, in the versions that are built: replaced ones as those that replace them.
/// Modules that are replaced by a directory are a changed copy of themselves.
fn requirements(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let (mut required, mut replaced, mut block) = (Vec::new(), BTreeMap::new(), "");
    for line in lines {
        let words: Vec<_> = line.split_whitespace().collect();
        let (verb, rest) = match words.as_slice() {
            [verb, "("] => {
                block = *verb;
                continue;
            }
            [")"] => {
                block = "";
                continue;
            }
            [verb, rest @ ..] if block.is_empty() => (*verb, rest),
            rest => (block, rest),
        };
        match (verb, rest) {
            ("require", [path, version]) => required.push((*path, *version)),
            ("replace", [old, "=>", new, version] | [old, _, "=>", new, version]) => {
                replaced.insert(*old, (*new, *version));
            }
            _ => {}
        }
    }
    let built = required.into_iter().map(|(path, version)| replaced.get(path).copied().unwrap_or((path, version)));
    built.map(|(path, version)| (path.to_owned(), version.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_modules_are_named_as_they_are_built() {
        let text = "module x\n\ngo 1.26.0\n\ntool a.org/a\n\nrequire k8s.io/b v0.0.0 // indirect\nrequire (\n\ta.org/a v1.2.0\n\
            \tc.org/c v2.0.0+incompatible // indirect\n\td.org/d v1.0.0\n)\nexclude a.org/a v1.3.0\nreplace (\n\
            \tk8s.io/b => k8s.io/b v0.37.2\n\td.org/d => ./d.org/d\n)\n";
        let expected =
            [("k8s.io/b", "v0.37.2"), ("a.org/a", "v1.2.0"), ("c.org/c", "v2.0.0+incompatible"), ("d.org/d", "v1.0.0")];
        assert_eq!(requirements(text), expected.map(|(path, version)| (path.to_owned(), version.to_owned())));
    }

    #[test]
    fn everything_is_in_it_and_every_reference_leads_somewhere() {
        let bill = document().expect("a bill");
        let list = |value: &Value| value.as_array().expect("a list").clone();
        let mut components = list(&bill["components"]);
        components.push(bill["metadata"]["component"].clone());
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let references: BTreeSet<_> = components.iter().map(|component| text(&component["bom-ref"])).collect();
        assert_eq!(references.len(), components.len(), "each is there once");
        for dependency in list(&bill["dependencies"]) {
            assert!(references.contains(&text(&dependency["ref"])), "{dependency}");
            assert!(list(&dependency["dependsOn"]).iter().all(|on| references.contains(&text(on))), "{dependency}");
        }
        let packages = embedded::LOCK.split("[[package]]").skip(1);
        let field = |package: &str, name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(&format!("{name} = \""))).expect("a field");
            line.trim_end_matches('"').to_owned()
        };
        for package in packages {
            let reference = crate_url(&field(package, "name"), &field(package, "version"));
            assert!(references.contains(&reference), "{reference}");
        }
        for artifact in CATALOG.artifacts.iter().flat_map(|definition| CATALOG.versions(definition)) {
            assert!(references.contains(&format!("pkg:generic/{}@{}", artifact.name(), artifact.version)));
            if let Some(Recipe::Go(go)) = artifact.definition.build.as_ref().map(|build| &build.recipe) {
                let module = go.sources.iter().find(|source| source.ends_with("go.mod")).expect("a go.mod");
                let module = embedded::component(&artifact.fill(module)).expect("it is embedded");
                for (path, version) in requirements(&String::from_utf8_lossy(module)) {
                    assert!(references.contains(&format!("pkg:golang/{path}@{version}")), "{path} {version}");
                }
            }
        }
        for package in ["pkg:deb/debian/nftables?distro=bookworm", "pkg:deb/debian/busybox-static?distro=trixie"] {
            assert!(references.contains(package), "{package}");
        }
    }
}
