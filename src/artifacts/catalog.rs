//! The catalog: every artifact, its versions, what it provides and the ways to get it. Data of `images/catalog.toml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::embedded;
use crate::error::{Error, Family, Result};

/// The catalog in this kcl.
pub static CATALOG: LazyLock<Catalog> =
    LazyLock::new(|| Catalog::parse(embedded::CATALOG).unwrap_or_else(|error| panic!("images/catalog.toml: {error}")));

/// All artifacts that are known.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// In the order in which they are got.
    #[serde(rename = "artifact")]
    pub artifacts: Vec<Definition>,
}

/// What an artifact is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// Part of every node's `bin` and `cni`.
    Node,
    /// The node root file system.
    Rootfs,
    /// Becomes part of an OCI image.
    Image,
    /// What nodes that are virtual machines need besides.
    Vm,
    /// A program that kcl runs on this computer for its users; got when it is first run.
    Tool,
}

/// One artifact.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// Its versions, the default first.
    pub versions: Vec<String>,
    /// Its name for people.
    pub title: String,
    /// What it is for.
    #[serde(rename = "use")]
    pub purpose: Use,
    /// Files or links that it holds, whichever way it was got.
    pub provides: Vec<String>,
    /// Archives (zstd-compressed tar) in it that are unpacked beside, and the directory each becomes.
    #[serde(default)]
    pub unpack: BTreeMap<String, String>,
    /// How it is built.
    pub build: Option<Build>,
    /// How it is downloaded.
    pub release: Option<Release>,
}

/// How an artifact is built.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Build {
    /// With what.
    #[serde(flatten)]
    pub recipe: Recipe,
    /// What a build with cold caches takes on disk, in MiB.
    pub disk_mib: u64,
    /// What the host must have for it, besides the recipe's own tool.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Links to make, and where each leads.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
}

/// With what an artifact is built.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Recipe {
    /// `go build`.
    Go(GoBuild),
    /// `mmdebstrap`.
    Debian {
        /// The definition, below `images/node`.
        definition: String,
    },
    /// A kernel and its modules, unpacked by `mmdebstrap`.
    Kernel {
        /// The definition, below `images/node`.
        definition: String,
    },
}

/// A build with Go. The options that all have in common are in [`super::build`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GoBuild {
    /// Files of the main module, below `images/components`.
    pub sources: Vec<String>,
    /// Main packages.
    pub packages: Vec<String>,
    /// The directory of the entry where the programs go.
    pub output: String,
    /// Linker flags, besides `-s -w`.
    #[serde(default)]
    pub ldflags: String,
    /// Build tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Build tags of a package that is built apart from the others, instead of those.
    #[serde(default)]
    pub tags_of: BTreeMap<String, Vec<String>>,
    /// Whether C is needed; the program is linked statically then.
    #[serde(default)]
    pub cgo: bool,
    /// Modules that are built from a copy, with other files in it. `go.mod` has to lead to the copy:
    /// `replace example.org/x => ./example.org/x`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patched: Vec<Patched>,
    /// Files of modules that become part of the entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<Copies>,
}

/// A module with some files of our own in the place of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patched {
    /// Its path.
    pub module: String,
    /// Its version.
    pub version: String,
    /// Its digest, as in `go.sum`, which has none of a copy.
    pub sum: String,
    /// Files of the module, and what is in their place: a file below `images/components`.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Files and directories of the module that are left out.
    #[serde(default)]
    pub without: Vec<String>,
}

/// Files of a module.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copies {
    /// Its path. It is one of those that the programs are built from.
    pub module: String,
    /// Files of it.
    pub files: Vec<String>,
    /// The directory of the entry where they go, under their own names.
    pub to: String,
}

impl GoBuild {
    /// All files below `images/components` that it takes.
    pub fn inputs(&self) -> impl Iterator<Item = &String> {
        self.sources.iter().chain(self.patched.iter().flat_map(|patched| patched.files.values()))
    }
}

/// Something that a build needs on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// A program in `PATH`.
    pub program: Option<String>,
    /// A library that the C compiler finds, such as `libseccomp.a`.
    pub library: Option<String>,
    /// A file.
    pub file: Option<String>,
    /// The Debian package that has it.
    pub package: String,
}

/// How an artifact is downloaded.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Where the project publishes; a mirror takes its place. `None`: nobody but a mirror has it.
    pub base: Option<String>,
    /// The checksum file, below the base: bare digests or `sha256sum` lines. `{path}` is the file's own.
    pub checksum: String,
    /// Digests that are known beforehand, by the file's path with its placeholders, then by architecture (`any`: the
    /// file is the same for all).
    #[serde(default)]
    pub sha256: BTreeMap<String, BTreeMap<String, String>>,
    /// How the files are packed.
    pub archive: Option<Archive>,
    /// Files below the base and what becomes of each.
    pub files: BTreeMap<String, Takes>,
}

impl Release {
    /// The digest of a file, where it is known beforehand.
    pub fn pinned(&self, path: &str, arch: &str) -> Option<&str> {
        let digests = self.sha256.get(path)?;
        digests.get(arch).or_else(|| digests.get("any")).map(String::as_str)
    }
}

/// A kind of archive.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Archive {
    /// A gzip-compressed tar.
    #[serde(rename = "tar.gz")]
    TarGz,
}

/// What becomes of a downloaded file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Takes {
    /// The file itself, at this path of the entry.
    Whole(String),
    /// Members of the archive, each `inner -> path of the entry`.
    Members(Vec<String>),
}

/// A version of an artifact on an architecture: what the cache has an entry for.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Its definition.
    pub definition: Definition,
    /// The version.
    pub version: String,
    /// The architecture in Go's words.
    pub arch: &'static str,
}

impl Catalog {
    /// Parses a catalog.
    pub fn parse(text: &str) -> std::result::Result<Catalog, toml::de::Error> {
        toml::from_str(text)
    }

    fn definition(&self, name: &str) -> Result<&Definition> {
        self.artifacts.iter().find(|definition| definition.name == name).ok_or_else(|| {
            let names: Vec<_> = self.artifacts.iter().map(|definition| definition.name.as_str()).collect();
            Error::new(Family::Usage, format!("there is no artifact {name:?} in the catalog"))
                .hint(format!("the catalog has: {}", names.join(", ")))
        })
    }

    /// An artifact in all its versions.
    pub fn versions(&self, definition: &Definition) -> Vec<Artifact> {
        definition.versions.iter().map(|version| Artifact::new(definition, version)).collect()
    }

    /// An artifact in its default version.
    pub fn artifact(&self, name: &str) -> Result<Artifact> {
        let definition = self.definition(name)?;
        Ok(Artifact::new(definition, &definition.versions[0]))
    }

    /// Kubernetes in a version as a user writes it: see [`Catalog::kubernetes_version`].
    pub fn kubernetes(&self, version: &str) -> Result<Artifact> {
        let version = self.kubernetes_version(version)?;
        Ok(Artifact::new(self.definition("kubernetes")?, version.trim_start_matches('v')))
    }

    /// The versions of Kubernetes that this kcl has, the default first.
    pub fn kubernetes_versions(&self) -> Result<Vec<String>> {
        Ok(self.definition("kubernetes")?.versions.iter().map(|version| format!("v{version}")).collect())
    }

    /// The Kubernetes version (`v1.37.0`) that `wanted` means: `v1.37.0`, `1.37.0`, `1.37`, `latest`, `stable`, or
    /// nothing for the default.
    pub fn kubernetes_version(&self, wanted: &str) -> Result<String> {
        let known = &self.definition("kubernetes")?.versions;
        let plain = wanted.strip_prefix('v').unwrap_or(wanted);
        let found = match plain {
            "" | "stable" => known.first(),
            "latest" => known.iter().max_by_key(|version| numbers(version)),
            _ => known.iter().filter(|known| matches(known, plain)).max_by_key(|version| numbers(version)),
        };
        found.map(|version| format!("v{version}")).ok_or_else(|| {
            let known: Vec<_> = known.iter().map(|version| format!("v{version}")).collect();
            Error::new(Family::Usage, format!("Kubernetes {wanted:?} is not a version that this kcl has"))
                .hint(format!("it has: {} (also 1.37 for the newest 1.37, latest, stable)", known.join(", ")))
        })
    }

    /// Everything that every node has, programs and the root file system, and with `vm` what virtual machines need.
    pub fn for_nodes(&self, kubernetes: &str, vm: bool) -> Result<Vec<Artifact>> {
        let purposes = [Use::Node, Use::Rootfs, Use::Vm];
        let purposes = &purposes[..if vm { 3 } else { 2 }];
        self.artifacts
            .iter()
            .filter(|definition| purposes.contains(&definition.purpose))
            .map(|definition| match definition.name.as_str() {
                "kubernetes" => self.kubernetes(kubernetes),
                _ => Ok(Artifact::new(definition, &definition.versions[0])),
            })
            .collect()
    }
}

impl Artifact {
    fn new(definition: &Definition, version: &str) -> Artifact {
        Artifact { definition: definition.clone(), version: version.to_owned(), arch: arch() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// It and its version, for people.
    pub fn title(&self) -> String {
        format!("{} {}", self.definition.title, self.version)
    }

    /// Fills the placeholders of a text of the catalog.
    pub fn fill(&self, text: &str) -> String {
        let mut parts = self.version.split('.');
        let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        text.replace("{version}", &self.version)
            .replace("{major}", major)
            .replace("{minor}", minor)
            .replace("{arch}", self.arch)
            .replace("{kcl}", env!("CARGO_PKG_VERSION"))
    }

    /// The name of its entry in the cache: name, version and 12 digits of what it is made of. That is the same for
    /// all ways, so where it comes from (the release part) is not in it, nor is what a build needs of the host.
    pub fn entry_name(&self) -> Result<String> {
        let mut identity = self.definition.clone();
        identity.release = None;
        identity.versions = vec![self.version.clone()];
        identity.title.clear();
        if let Some(build) = &mut identity.build {
            build.needs.clear();
            build.disk_mib = 0;
        }
        let mut inputs = vec![serde_json::to_vec(&(&identity, self.arch)).expect("a definition is plain data")];
        match identity.build.as_ref().map(|build| &build.recipe) {
            Some(Recipe::Go(go)) => {
                for source in go.inputs() {
                    inputs.push(embedded::component(&self.fill(source))?.to_vec());
                }
            }
            Some(Recipe::Debian { definition } | Recipe::Kernel { definition }) => {
                inputs.push(embedded::node(definition)?.as_bytes().to_vec())
            }
            None => {}
        }
        let key = super::digest::of_parts(inputs.iter().map(Vec::as_slice));
        Ok(format!("{}-{}-{}", self.name(), self.version, &key[..12]))
    }
}

/// This machine's architecture in Go's words.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn numbers(version: &str) -> Vec<u64> {
    version.split('.').map(|part| part.parse().unwrap_or_default()).collect()
}

/// Whether `known` is `wanted` or one of its patch releases.
fn matches(known: &str, wanted: &str) -> bool {
    known.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_is_whole() {
        for definition in &CATALOG.artifacts {
            assert!(!definition.versions.is_empty(), "{}", definition.name);
            for version in &definition.versions {
                let name = Artifact::new(definition, version).entry_name().expect("its sources are embedded");
                assert!(name.starts_with(&format!("{}-{version}-", definition.name)));
            }
            let release = definition.release.as_ref().expect("a release");
            assert_eq!(
                release.archive.is_some(),
                release.files.values().any(|takes| matches!(takes, Takes::Members(_))),
                "{}",
                definition.name
            );
        }
    }

    #[test]
    fn versions_are_forgiving() {
        for (wanted, version) in [
            ("", "v1.37.0"),
            ("v1.37.0", "v1.37.0"),
            ("1.37", "v1.37.0"),
            ("v1.36", "v1.36.3"),
            ("1.36.3", "v1.36.3"),
            ("latest", "v1.37.0"),
            ("stable", "v1.37.0"),
        ] {
            assert_eq!(CATALOG.kubernetes_version(wanted).expect(wanted), version);
        }
        for wanted in ["1.3", "1.36.1", "vv1.37", "newest"] {
            let error = CATALOG.kubernetes_version(wanted).expect_err(wanted);
            assert_eq!(error.family, Family::Usage);
            assert!(error.hints[0].contains("v1.36.3"), "{:?}", error.hints);
        }
    }

    #[test]
    fn the_key_does_not_depend_on_the_way_but_on_what_is_built() {
        let artifact = CATALOG.artifact("etcd").expect("etcd");
        let name = artifact.entry_name().expect("a name");
        let mut other = artifact.clone();
        other.definition.release = None;
        other.definition.build.as_mut().expect("a build").disk_mib += 1;
        assert_eq!(other.entry_name().expect("a name"), name);
        other.arch = "s390x";
        assert_ne!(other.entry_name().expect("a name"), name);
        let mut other = artifact;
        other.definition.provides.push("bin/etcdctl".into());
        assert_ne!(other.entry_name().expect("a name"), name);
    }
}
