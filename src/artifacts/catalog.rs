//! The catalog: every artifact, its versions, its files and its sources. Its data is `images/catalog.toml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::embedded;
use crate::digest;
use crate::error::{Error, Id, Result};

/// The catalog of this kcl.
pub static CATALOG: LazyLock<Catalog> =
    LazyLock::new(|| Catalog::parse(embedded::CATALOG).unwrap_or_else(|error| panic!("images/catalog.toml: {error}")));

/// All known artifacts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// The artifacts in the order in which they are fetched.
    #[serde(rename = "artifact")]
    pub artifacts: Vec<Definition>,
}

/// The purpose of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// A part of every node's `bin` and `cni`.
    Node,
    /// The node root file system.
    Rootfs,
    /// A part of an OCI image.
    Image,
    /// A part of nodes that are virtual machines only.
    Vm,
    /// A program that kcl runs on this computer for its users; it is fetched when it is first run.
    Tool,
}

/// The definition of an artifact.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The name of the artifact.
    pub name: String,
    /// Its versions, the default first.
    pub versions: Vec<String>,
    /// Other versions that can be had: see [`Others`].
    #[serde(skip_serializing)]
    pub others: Option<Others>,
    /// Its name for users.
    pub title: String,
    /// The purpose of the artifact.
    #[serde(rename = "use")]
    pub purpose: Use,
    /// The files and links that it contains, whichever source it comes from.
    pub provides: Vec<String>,
    /// Its archives (zstd-compressed tar) that are unpacked as well, and the directory for each.
    #[serde(default)]
    pub unpack: BTreeMap<String, String>,
    /// The instructions to build it.
    pub build: Option<Build>,
    /// The files to download.
    pub release: Option<Release>,
}

/// Versions that no catalog lists: patch releases, of the minor versions of `versions` and of `newest`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Others {
    /// The newest known patch releases of other minor versions than those of `versions`.
    pub newest: Vec<String>,
    /// The module that a build takes its `go.mod` from.
    pub module: String,
}

/// The instructions to build an artifact.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Build {
    /// The build tool and its options.
    #[serde(flatten)]
    pub recipe: Recipe,
    /// The disk space that a build with cold caches takes, in MiB.
    pub disk_mib: u64,
    /// The programs, libraries and files that the host must have, in addition to the recipe's own tool.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// The links to create, with their targets.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
}

/// The build tool of an artifact and its options.
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
    /// Files of a Debian package, unpacked by `mmdebstrap`.
    Package {
        /// The release of Debian, such as `trixie`.
        suite: String,
        /// The name of the package.
        package: String,
        /// The files to take, by their paths in the package, each with its path in the entry.
        files: BTreeMap<String, String>,
    },
    /// A kernel and its modules, unpacked by `mmdebstrap`.
    Kernel {
        /// The definition, below `images/node`.
        definition: String,
    },
}

/// A build with Go. The options that all builds have in common are in [`super::build`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GoBuild {
    /// Files of the main module, below `images/components`.
    pub sources: Vec<String>,
    /// The module whose `go.mod`, in the version of the artifact, becomes that of the main module, which has none among
    /// its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// The main packages to build.
    pub packages: Vec<String>,
    /// The directory of the entry for the programs.
    pub output: String,
    /// Linker flags, in addition to `-s -w`.
    #[serde(default)]
    pub ldflags: String,
    /// The build tags of all packages.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The build tags of packages that are built apart from the others; they replace `tags`.
    #[serde(default)]
    pub tags_of: BTreeMap<String, Vec<String>>,
    /// True if the program needs C; it is linked statically then.
    #[serde(default)]
    pub cgo: bool,
    /// The modules that are built from a modified copy. `go.mod` has to point to the copy:
    /// `replace example.org/x => ./example.org/x`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patched: Vec<Patched>,
    /// The files of modules that become part of the entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<Copies>,
}

/// A module of which some files are replaced.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patched {
    /// The path of the module.
    pub module: String,
    /// The version of the module.
    pub version: String,
    /// Its digest in the format of `go.sum`, which has no digests of copies.
    pub sum: String,
    /// The files of the module that are replaced, each by a file below `images/components`.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// The files and directories of the module that are omitted.
    #[serde(default)]
    pub without: Vec<String>,
}

/// Files of a module.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copies {
    /// The path of the module, which is one that the programs are built from.
    pub module: String,
    /// The files to copy.
    pub files: Vec<String>,
    /// The directory of the entry for the files, which keep their names.
    pub to: String,
}

impl GoBuild {
    /// Returns all files below `images/components` that the build uses.
    pub fn inputs(&self) -> impl Iterator<Item = &String> {
        self.sources.iter().chain(self.patched.iter().flat_map(|patched| patched.files.values()))
    }
}

/// A requirement of a build on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// A program in `PATH`.
    pub program: Option<String>,
    /// A library that the C compiler finds, such as `libseccomp.a`.
    pub library: Option<String>,
    /// The path of a file.
    pub file: Option<String>,
    /// The Debian package that contains it.
    pub package: String,
}

/// The files of an artifact's release.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The address of the project's releases, which a mirror replaces; `None` if only a mirror can have the files.
    pub base: Option<String>,
    /// The path of the checksum file, below the base: bare digests or `sha256sum` lines. `{path}` is the path of the
    /// file.
    pub checksum: String,
    /// The archive format of the files.
    pub archive: Option<Archive>,
    /// The files below the base, and the use of each.
    pub files: BTreeMap<String, Takes>,
}

/// An archive format.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Archive {
    /// A gzip-compressed tar.
    #[serde(rename = "tar.gz")]
    TarGz,
}

/// The use of a downloaded file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Takes {
    /// The file itself, at this path of the entry.
    Whole(String),
    /// Members of the archive, each `inner -> path of the entry`.
    Members(Vec<String>),
}

/// A version of an artifact for an architecture. The cache has an entry for each.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The definition of the artifact.
    pub definition: Definition,
    /// The version of the artifact.
    pub version: String,
    /// The architecture, as Go names it.
    pub arch: &'static str,
}

impl Catalog {
    /// Parses a catalog.
    pub fn parse(text: &str) -> std::result::Result<Catalog, toml::de::Error> {
        toml::from_str(text)
    }

    pub(super) fn definition(&self, name: &str) -> Result<&Definition> {
        self.artifacts.iter().find(|definition| definition.name == name).ok_or_else(|| {
            let names: Vec<_> = self.artifacts.iter().map(|definition| definition.name.as_str()).collect();
            Error::new(Id::ArtifactUnknown, format!("there is no artifact {name:?} in the catalog"))
                .hint(format!("the catalog has: {}", names.join(", ")))
        })
    }

    /// Returns an artifact in all its versions.
    pub fn versions(&self, definition: &Definition) -> Vec<Artifact> {
        definition.versions.iter().map(|version| Artifact::new(definition, version)).collect()
    }

    /// Returns an artifact in its default version.
    pub fn artifact(&self, name: &str) -> Result<Artifact> {
        let definition = self.definition(name)?;
        Ok(Artifact::new(definition, &definition.versions[0]))
    }

    /// Returns the artifacts of every node, programs and the root file system, and with `vm` those of virtual machines.
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
    pub(super) fn new(definition: &Definition, version: &str) -> Artifact {
        Artifact { definition: definition.clone(), version: version.to_owned(), arch: arch() }
    }

    /// Returns the artifact's name.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// Returns the artifact's name and version, for users.
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

    /// Returns the name of its entry in the cache: name, version and 12 digits of a digest of its inputs. It is the
    /// same for all sources, so the release is not among the inputs, and neither are the requirements of a build.
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
            Some(Recipe::Package { .. }) | None => {}
        }
        let key = digest::of_parts(inputs.iter().map(Vec::as_slice));
        Ok(format!("{}-{}-{}", self.name(), self.version, &key[..12]))
    }
}

/// Returns this machine's architecture, as Go names it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
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
