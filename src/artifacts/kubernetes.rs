//! The choice of Kubernetes' version: one of the catalog, or another patch release of the minor versions that it names.

use super::catalog::{Artifact, CATALOG, Catalog, Definition, Recipe};
use crate::error::{Error, Id, Result};

/// The name of the artifact.
const NAME: &str = "kubernetes";

impl Catalog {
    /// Returns Kubernetes in a version as a user writes it: see [`Catalog::kubernetes_version`].
    pub fn kubernetes(&self, version: &str) -> Result<Artifact> {
        let version = self.kubernetes_version(version)?;
        let definition = self.definition(NAME)?;
        let mut artifact = Artifact::new(definition, version.trim_start_matches('v'));
        if let (Some(others), false) = (&definition.others, definition.versions.contains(&artifact.version))
            && let Some(Recipe::Go(go)) = artifact.definition.build.as_mut().map(|build| &mut build.recipe)
        {
            // There is no go.mod for it among the components.
            go.sources.retain(|source| !source.contains("/go."));
            go.follows = Some(others.module.clone());
        }
        Ok(artifact)
    }

    /// Returns the versions of Kubernetes in the catalog, the default first.
    pub fn kubernetes_versions(&self) -> Result<Vec<String>> {
        Ok(self.definition(NAME)?.versions.iter().map(|version| format!("v{version}")).collect())
    }

    /// Returns the versions of Kubernetes for each minor version: the default, then the newest known ones.
    pub fn kubernetes_choice(&self) -> Result<Vec<String>> {
        Ok(known(self.definition(NAME)?).map(|version| format!("v{version}")).collect())
    }

    /// Resolves `wanted` to a Kubernetes version (`v1.37.2`): `v1.37.2`, `1.37.2`, `1.37`, `latest`, `stable`, or
    /// nothing for the default. A patch release that is not in the catalog may turn out not to exist.
    pub fn kubernetes_version(&self, wanted: &str) -> Result<String> {
        let definition = self.definition(NAME)?;
        let listed = &definition.versions;
        let plain = wanted.strip_prefix('v').unwrap_or(wanted);
        let found = match plain {
            "" | "stable" => listed.first().cloned(),
            "latest" => listed.iter().max_by_key(|version| numbers(version)).cloned(),
            _ => {
                let fitting = known(definition).filter(|known| matches(known, plain));
                let found = fitting.max_by_key(|version| numbers(version)).cloned();
                found.or_else(|| is_other(definition, plain).then(|| plain.to_owned()))
            }
        };
        found.map(|version| format!("v{version}")).ok_or_else(|| unknown(definition, wanted))
    }
}

/// Returns the versions that are known to exist.
fn known(definition: &Definition) -> impl Iterator<Item = &String> {
    definition.versions.iter().chain(definition.others.iter().flat_map(|others| &others.newest))
}

/// Returns true for a patch release of a minor version that is known.
fn is_other(definition: &Definition, version: &str) -> bool {
    let canonical =
        semver::Version::parse(version).is_ok_and(|version| version.pre.is_empty() && version.build.is_empty());
    canonical && known(definition).any(|known| minor(known) == minor(version))
}

fn unknown(definition: &Definition, wanted: &str) -> Error {
    let listed: Vec<_> = definition.versions.iter().map(|version| format!("v{version}")).collect();
    Error::new(Id::VersionUnknown, format!("Kubernetes {wanted:?} is not a version that this kcl has"))
        .hint(format!("it has: {} (also 1.37 for the newest 1.37, latest, stable)", listed.join(", ")))
        .hint(other_versions())
}

/// Returns the text that names the versions beside those of the catalog.
pub fn other_versions() -> String {
    let definition = CATALOG.definition(NAME).expect("the catalog has it");
    let minors: Vec<_> = known(definition).map(|version| minor(version)).collect();
    let example = known(definition).last().expect("the catalog has versions");
    format!("other patch releases of {} by their number, such as v{example}", minors.join(", "))
}

/// Returns `1.37` of `1.37.2`.
fn minor(version: &str) -> &str {
    version.rsplit_once('.').map_or(version, |(minor, _)| minor)
}

fn numbers(version: &str) -> Vec<u64> {
    version.split('.').map(|part| part.parse().unwrap_or_default()).collect()
}

/// Returns true if `known` is `wanted` or one of its patch releases.
fn matches(known: &str, wanted: &str) -> bool {
    known.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_forgiving() {
        let newest = &CATALOG.kubernetes_choice().expect("versions")[2..];
        assert_eq!(newest.len(), 3, "two in the catalog, and the last of three minor versions before");
        for (wanted, version) in [
            ("", "v1.37.2"),
            ("v1.37.2", "v1.37.2"),
            ("1.37", "v1.37.2"),
            ("v1.36", "v1.36.3"),
            ("1.36.3", "v1.36.3"),
            ("latest", "v1.37.2"),
            ("stable", "v1.37.2"),
            // Of these the catalog says no more than that they may exist.
            ("1.36.1", "v1.36.1"),
            ("v1.37.30", "v1.37.30"),
            ("1.33.0", "v1.33.0"),
            ("1.35", newest[0].as_str()),
        ] {
            assert_eq!(CATALOG.kubernetes_version(wanted).expect(wanted), version);
        }
        for wanted in ["1.3", "1.30.1", "vv1.37", "newest", "1.36.01", "1.36.x", "1.36.1-rc.0", "1.38.0", "1.37.2.1"] {
            let error = CATALOG.kubernetes_version(wanted).expect_err(wanted);
            assert_eq!(error.id, Id::VersionUnknown);
            assert!(error.hints[0].contains("v1.36.3") && error.hints[1].contains("1.35"), "{:?}", error.hints);
        }
    }

    #[test]
    fn another_version_has_a_build_and_an_entry_of_its_own() {
        let go = |artifact: &Artifact| match artifact.definition.build.as_ref().map(|build| build.recipe.clone()) {
            Some(Recipe::Go(go)) => go,
            other => panic!("{other:?}"),
        };
        let (listed, other) = (CATALOG.kubernetes("1.37").unwrap(), CATALOG.kubernetes("1.37.1").unwrap());
        assert_eq!((go(&listed).sources.len(), go(&listed).follows), (3, None));
        assert_eq!(go(&other).sources, ["kubernetes/main.go"]);
        assert_eq!(go(&other).follows.as_deref(), Some("k8s.io/kubernetes"));
        assert!(other.entry_name().unwrap().starts_with("kubernetes-1.37.1-"));
        assert_ne!(other.entry_name().unwrap(), CATALOG.kubernetes("1.37.3").unwrap().entry_name().unwrap());
    }
}
