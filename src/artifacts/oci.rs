//! Assembles OCI images from files of artifacts, by the definitions in `images/oci`. The same files make the same
//! bytes, so digests are stable.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use oci_spec::image as spec;
use serde::Deserialize;

use super::catalog::{Artifact, CATALOG};
use super::embedded;
use super::image_config::{ImageConfig, invalid};
use crate::digest;
use crate::error::{Error, Id, Result};

/// The definition of an image.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Its name in the catalog, which is that of its file.
    #[serde(skip)]
    pub name: String,
    /// Its reference, such as `registry.k8s.io/pause:3.10.2`; `{version}` is that of the artifact `version_of`, `{kcl}`
    /// kcl's own.
    pub reference: String,
    /// Other references of the same image.
    #[serde(default)]
    aliases: Vec<String>,
    version_of: Option<String>,
    /// True if every node has it from the start.
    #[serde(default)]
    pub system: bool,
    /// True if the kubelet must never remove it.
    #[serde(default)]
    pub pinned: bool,
    #[serde(default)]
    config: ImageConfig,
    #[serde(default, rename = "file")]
    files: Vec<FileItem>,
    #[serde(default, rename = "text")]
    texts: Vec<Text>,
    #[serde(default, rename = "directory")]
    directories: Vec<Directory>,
    links: Option<Links>,
}

/// A file of an artifact's entry, or an embedded program.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileItem {
    artifact: Option<String>,
    from: Option<String>,
    embedded: Option<String>,
    to: String,
    #[serde(default = "executable")]
    mode: u32,
}

fn executable() -> u32 {
    0o755
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    to: String,
    text: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Directory {
    to: String,
    #[serde(default = "executable")]
    mode: u32,
}

/// Several names of one program.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Links {
    target: String,
    directory: String,
    names: Vec<String>,
}

/// A file, directory or link in the layer of an image.
enum Node {
    Directory(u32),
    Link(String),
    File(u32, PathBuf),
    Bytes(u32, Vec<u8>),
}

/// Returns the images of this kcl.
pub fn all() -> Result<Vec<Image>> {
    embedded::images().into_iter().map(|(name, text)| parse(name, text)).collect()
}

/// Returns the reference by which pods name an image of this kcl.
pub fn reference(name: &str) -> Result<String> {
    let image = all()?.into_iter().find(|image| image.name == name);
    let missing = || Error::new(Id::Internal, format!("there is no image {name:?} in the catalog"));
    Ok(image.ok_or_else(missing)?.reference)
}

/// Returns the images called `names`, and the system's.
pub fn select(names: &[String]) -> Result<Vec<Image>> {
    let images = all()?;
    for name in names {
        if !images.iter().any(|image| image.name == *name) {
            let known: Vec<_> = images.iter().map(|image| image.name.as_str()).collect();
            return Err(Error::new(Id::ArtifactUnknown, format!("there is no image {name:?} in the catalog"))
                .hint(format!("the catalog has: {}", known.join(", "))));
        }
    }
    Ok(images.into_iter().filter(|image| image.system || names.contains(&image.name)).collect())
}

fn parse(name: &str, text: &str) -> Result<Image> {
    let bad = |why: String| Error::new(Id::Internal, format!("images/oci/{name}.toml: {why}"));
    let mut image: Image = toml::from_str(text).map_err(|error| bad(error.to_string()))?;
    if let Some(artifact) = &image.version_of {
        image.reference = CATALOG.artifact(artifact)?.fill(&image.reference);
    }
    image.reference = image.reference.replace("{kcl}", env!("CARGO_PKG_VERSION"));
    name.clone_into(&mut image.name);
    for file in &image.files {
        if file.embedded.is_some() == (file.artifact.is_some() && file.from.is_some()) {
            return Err(bad(format!("{} needs either `embedded` or both `artifact` and `from`", file.to)));
        }
    }
    Ok(image)
}

impl Image {
    /// Returns all references of the image.
    pub fn references(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.reference).chain(&self.aliases)
    }

    /// Returns the artifacts that the image takes files from.
    pub fn artifacts(&self) -> Result<Vec<Artifact>> {
        let mut names: Vec<_> = self.files.iter().filter_map(|file| file.artifact.as_deref()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| CATALOG.artifact(name)).collect()
    }

    /// Returns a digest of everything that the image is made of.
    pub fn key(&self) -> Result<String> {
        let mut parts = vec![format!("{self:?}").into_bytes()];
        for artifact in self.artifacts()? {
            parts.push(artifact.entry_name()?.into_bytes());
        }
        for name in self.files.iter().filter_map(|file| file.embedded.as_deref()) {
            parts.push(embedded::program(name)?.digest.into());
        }
        Ok(digest::of_parts(parts.iter().map(Vec::as_slice)))
    }

    /// Returns the name of the image's entry in the cache.
    pub fn entry_name(&self) -> Result<String> {
        Ok(format!("{}-{}", self.name, &self.key()?[..12]))
    }

    fn nodes(&self, entries: &BTreeMap<String, PathBuf>) -> Result<BTreeMap<String, Node>> {
        let mut nodes = BTreeMap::new();
        let mut add = |path: &str, node: Node| {
            let path = path.trim_matches('/');
            let mut parent = Path::new(path);
            while let Some(above) = parent.parent().filter(|above| !above.as_os_str().is_empty()) {
                nodes.entry(above.to_string_lossy().into_owned()).or_insert(Node::Directory(0o755));
                parent = above;
            }
            nodes.insert(path.to_owned(), node);
        };
        for file in &self.files {
            let node = match (&file.embedded, &file.artifact, &file.from) {
                (Some(name), ..) => Node::Bytes(file.mode, embedded::program(name)?.bytes.to_vec()),
                (None, Some(artifact), Some(from)) => {
                    let entry = entries.get(artifact).ok_or_else(|| {
                        Error::new(Id::Internal, format!("{artifact} is missing for the image {}", self.name))
                    })?;
                    Node::File(file.mode, entry.join(from))
                }
                _ => unreachable!("checked when parsed"),
            };
            add(&file.to, node);
        }
        for text in &self.texts {
            add(&text.to, Node::Bytes(0o644, text.text.clone().into_bytes()));
        }
        for directory in &self.directories {
            add(&directory.to, Node::Directory(directory.mode));
        }
        if let Some(links) = &self.links {
            for name in &links.names {
                add(&format!("{}/{name}", links.directory), Node::Link(links.target.clone()));
            }
        }
        Ok(nodes)
    }
}

/// Writes images as one archive in the OCI image layout (OCI image specification 1.1), which `ctr images import` and
/// `docker load` (25 and later) accept. `entries` are the directories of the artifacts by name. Layers are not
/// compressed, as they never leave the host. Returns the digests of the images' manifests, in order.
pub fn write(images: &[Image], entries: &BTreeMap<String, PathBuf>, to: &Path) -> Result<Vec<String>> {
    let failed = |error: io::Error| super::cache::trouble("write", to, error);
    let mut archive = tar::Builder::new(io::BufWriter::with_capacity(1 << 20, File::create(to).map_err(failed)?));
    append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).map_err(failed)?;
    let (mut manifests, mut digests) = (Vec::new(), Vec::new());
    for image in images {
        let (digest, size) = append_layer(&mut archive, image, &image.nodes(entries)?, failed)?;
        let layer = descriptor(spec::MediaType::ImageLayer, &digest, size)?;
        let config = image.config.of_layer(&format!("sha256:{digest}"))?;
        let config = append_json(&mut archive, spec::MediaType::ImageConfig, &config, failed)?;
        let manifest = spec::ImageManifestBuilder::default()
            .schema_version(2u32)
            .media_type(spec::MediaType::ImageManifest)
            .config(config)
            .layers(vec![layer])
            .build()
            .map_err(invalid)?;
        let manifest = append_json(&mut archive, spec::MediaType::ImageManifest, &manifest, failed)?;
        digests.push(manifest.digest().to_string());
        let names = ["io.containerd.image.name", spec::ANNOTATION_REF_NAME];
        for reference in image.references() {
            let mut named = manifest.clone();
            named.set_annotations(Some(names.map(|name| (name.to_owned(), reference.clone())).into()));
            manifests.push(named);
        }
    }
    let index = spec::ImageIndexBuilder::default()
        .schema_version(2u32)
        .media_type(spec::MediaType::ImageIndex)
        .manifests(manifests)
        .build()
        .map_err(invalid)?;
    append(&mut archive, "index.json", &json(&index)?).map_err(failed)?;
    archive.into_inner().and_then(|mut file| file.flush()).map_err(failed)?;
    Ok(digests)
}

/// Appends the layer of an image. Returns its digest and its size.
fn append_layer<W: Write>(
    archive: &mut tar::Builder<W>,
    image: &Image,
    nodes: &BTreeMap<String, Node>,
    failed: impl Fn(io::Error) -> Error,
) -> Result<(String, u64)> {
    let unreadable = |error| unreadable(image, &error);
    // The layer is written twice, as the name of the blob is its digest and comes first.
    let mut hash = digest::Writer::new(io::sink());
    write_layer(nodes, &mut hash).map_err(unreadable)?;
    let (_, layer, size) = hash.finish();
    let mut header = header(tar::EntryType::Regular, 0o644, size);
    header.set_path(format!("blobs/sha256/{layer}")).map_err(&failed)?;
    header.set_cksum();
    let writer = archive.get_mut();
    writer.write_all(header.as_bytes()).map_err(&failed)?;
    let mut hash = digest::Writer::new(writer);
    write_layer(nodes, &mut hash).map_err(unreadable)?;
    let (writer, again, _) = hash.finish();
    if again != layer {
        let message = format!("a file of the image {} changed while it was read", image.name);
        return Err(Error::new(Id::ArtifactBuild, message));
    }
    let padding = (512 - size % 512) % 512;
    writer.write_all(&vec![0; usize::try_from(padding).expect("below 512")]).map_err(&failed)?;
    Ok((layer, size))
}

fn write_layer(nodes: &BTreeMap<String, Node>, writer: &mut impl Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(writer);
    for (path, node) in nodes {
        match node {
            Node::Directory(mode) => {
                let mut header = header(tar::EntryType::Directory, *mode, 0);
                tar.append_data(&mut header, format!("{path}/"), io::empty())?;
            }
            Node::Link(target) => {
                let mut header = header(tar::EntryType::Symlink, 0o777, 0);
                tar.append_link(&mut header, path, target)?;
            }
            Node::File(mode, from) => {
                let file = File::open(from)
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", from.display())))?;
                let mut header = header(tar::EntryType::Regular, *mode, file.metadata()?.len());
                tar.append_data(&mut header, path, file)?;
            }
            Node::Bytes(mode, bytes) => {
                let mut header = header(tar::EntryType::Regular, *mode, bytes.len() as u64);
                tar.append_data(&mut header, path, bytes.as_slice())?;
            }
        }
    }
    tar.finish()
}

/// Returns a header that is the same in every run.
fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn append<W: Write>(archive: &mut tar::Builder<W>, path: &str, bytes: &[u8]) -> io::Result<()> {
    archive.append_data(&mut header(tar::EntryType::Regular, 0o644, bytes.len() as u64), path, bytes)
}

/// Appends a document as a blob. Returns its descriptor.
fn append_json<W: Write>(
    archive: &mut tar::Builder<W>,
    media_type: spec::MediaType,
    document: &impl serde::Serialize,
    failed: impl Fn(io::Error) -> Error,
) -> Result<spec::Descriptor> {
    let bytes = json(document)?;
    let digest = digest::of_bytes(&bytes);
    append(archive, &format!("blobs/sha256/{digest}"), &bytes).map_err(failed)?;
    descriptor(media_type, &digest, bytes.len() as u64)
}

fn descriptor(media_type: spec::MediaType, sha256: &str, size: u64) -> Result<spec::Descriptor> {
    let digest: spec::Digest = format!("sha256:{sha256}").parse().map_err(invalid)?;
    Ok(spec::Descriptor::new(media_type, size, digest))
}

/// Serializes a document with sorted keys, as the types keep annotations in hash maps.
fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut value = serde_json::to_value(value)
        .map_err(|error| Error::new(Id::Internal, format!("an image cannot be described: {error}")))?;
    value.sort_all_objects();
    Ok(value.to_string().into_bytes())
}

fn unreadable(image: &Image, error: &io::Error) -> Error {
    Error::new(Id::ArtifactBuild, format!("cannot assemble the image {}: {error}", image.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(directory: &Path) -> (Vec<Image>, BTreeMap<String, PathBuf>) {
        let entry = directory.join("busybox");
        std::fs::create_dir_all(entry.join("bin")).expect("directories");
        std::fs::write(entry.join("bin/busybox"), "a program").expect("busybox");
        let images = all().expect("images").into_iter().filter(|image| image.name == "busybox").collect();
        (images, [("busybox".to_owned(), entry)].into())
    }

    #[test]
    fn every_definition_is_whole() {
        let images = all().expect("they parse");
        for image in &images {
            assert!(!image.reference.contains('{'), "{}", image.reference);
            image.key().expect("its artifacts are in the catalog");
        }
        let system: Vec<_> = select(&[]).expect("system images").into_iter().map(|image| image.name).collect();
        assert_eq!(system, ["busybox", "coredns", "load-balancer", "local-path-provisioner", "pause"]);
        let error = select(&["coredsn".into()]).expect_err("no such image");
        assert!(error.hints[0].contains("coredns"));
    }

    #[test]
    fn the_same_files_make_the_same_bytes() {
        let directory = tempfile::tempdir().expect("a directory");
        let (images, entries) = fixture(directory.path());
        let (one, two) = (directory.path().join("1.tar"), directory.path().join("2.tar"));
        let digests = write(&images, &entries, &one).expect("write");
        assert_eq!(write(&images, &entries, &two).expect("write"), digests);
        assert_eq!(std::fs::read(&one).expect("read"), std::fs::read(&two).expect("read"));
    }

    #[test]
    fn the_layout_holds_together() {
        let directory = tempfile::tempdir().expect("a directory");
        let (images, entries) = fixture(directory.path());
        let path = directory.path().join("image.tar");
        write(&images, &entries, &path).expect("write");
        let layout = directory.path().join("layout");
        tar::Archive::new(File::open(&path).expect("open")).unpack(&layout).expect("unpack");
        for blob in std::fs::read_dir(layout.join("blobs/sha256")).expect("blobs") {
            let blob = blob.expect("a blob").path();
            assert_eq!(digest::of_file(&blob).expect("digest"), blob.file_name().expect("name").to_string_lossy());
        }
        let index = spec::ImageIndex::from_file(layout.join("index.json")).expect("index");
        let blob = |digest: &spec::Digest| layout.join("blobs/sha256").join(digest.digest());
        let manifest = spec::ImageManifest::from_file(blob(index.manifests()[0].digest())).expect("manifest");
        let config = spec::ImageConfiguration::from_file(blob(manifest.config().digest())).expect("config");
        assert_eq!(config.rootfs().diff_ids()[0], manifest.layers()[0].digest().to_string());
        let layer = File::open(blob(manifest.layers()[0].digest())).expect("layer");
        let mut tar = tar::Archive::new(layer);
        let names: Vec<_> = tar
            .entries()
            .expect("entries")
            .map(|entry| entry.expect("entry").path().expect("path").to_string_lossy().into_owned())
            .collect();
        assert!(names.contains(&"bin/sh".to_owned()) && names.contains(&"tmp/".to_owned()), "{names:?}");
        assert!(names.is_sorted());
    }
}
