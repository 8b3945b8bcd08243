//! Composes the parts of a node from entries of artifacts: the tree of hard links, and the image store.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use kcl_files::Lock;

use super::cache::{Cache, Entry, Found, Kind, Manifest, Slot, trouble};
use super::catalog::{Artifact, CATALOG, Use};
use super::oci::{self, Image};
use super::want::{NodeArtifacts, Want};
use super::{build, embedded, store};
use crate::digest;
use crate::error::Result;

/// The policy engine's program.
const POLICY: &str = "kcl-policy";

/// The parts of a node and their slots in the cache. The names of slots follow from the request alone, so they are
/// known without reading a file.
#[derive(Debug)]
pub(super) struct Plan {
    /// The version of Kubernetes: `v1.37.0`.
    pub kubernetes: String,
    /// The artifacts of every node, the root file system, and the kernel if requested.
    pub artifacts: Vec<(Artifact, Slot)>,
    /// The images in every node.
    pub images: Vec<Image>,
    /// The composed tree.
    pub node: Slot,
    /// The image store.
    pub store: Slot,
}

impl Plan {
    /// Plans the parts for a request.
    pub(super) fn new(cache: &Cache, want: &Want) -> Result<Plan> {
        let artifacts = CATALOG
            .for_nodes(&want.kubernetes, want.vm)?
            .into_iter()
            .map(|artifact| {
                let slot = cache.slot(Kind::Artifact, artifact.entry_name()?);
                Ok((artifact, slot))
            })
            .collect::<Result<Vec<_>>>()?;
        let images = oci::select(&want.images)?;
        let containerd = CATALOG.artifact("containerd")?.entry_name()?;
        let mut store = vec![containerd.into_bytes()];
        for image in &images {
            store.push(image.key()?.into_bytes());
        }
        let store = digest::of_parts(store.iter().map(Vec::as_slice));
        let store = cache.slot(Kind::ImageStore, &store[..12]);

        let mut node =
            vec![embedded::AGENT.digest.as_bytes(), embedded::POLICY.digest.as_bytes(), store.name.as_bytes()];
        node.extend(artifacts.iter().map(|(_, slot)| slot.name.as_bytes()));
        let node = digest::of_parts(node);
        let kubernetes = CATALOG.kubernetes_version(&want.kubernetes)?;
        let node = cache.slot(Kind::Node, format!("{kubernetes}-{}", &node[..12]));
        Ok(Plan { kubernetes, artifacts, images, node, store })
    }

    /// Returns the artifacts if all their entries are complete.
    pub(super) fn cached(&self, lease: Lock) -> Result<Option<NodeArtifacts>> {
        let mut entries = Vec::new();
        for (_, slot) in &self.artifacts {
            match slot.open(false)? {
                Found::Entry(entry) => entries.push(*entry),
                _ => return Ok(None),
            }
        }
        match (self.node.open(false)?, self.store.open(false)?) {
            (Found::Entry(node), Found::Entry(store)) => Ok(Some(self.result(&entries, &node, &store, lease))),
            _ => Ok(None),
        }
    }

    /// Combines the entries, which are in the order of `artifacts`.
    pub(super) fn result(&self, entries: &[Entry], node: &Entry, store: &Entry, lease: Lock) -> NodeArtifacts {
        let rootfs = self.artifacts.iter().position(|(artifact, _)| artifact.definition.purpose == Use::Rootfs);
        let index = rootfs.expect("the catalog has one root file system");
        let (artifact, rootfs) = (&self.artifacts[index].0, &entries[index].path);
        let directory = artifact.definition.unpack.values().next().expect("it is unpacked");
        let components = node.path.join("components");
        let kernel = self.artifacts.iter().position(|(artifact, _)| artifact.definition.purpose == Use::Vm);
        NodeArtifacts {
            kernel: kernel.map(|index| entries[index].path.clone()),
            kubernetes: self.kubernetes.clone(),
            key: self.node.name.clone(),
            rootfs: rootfs.join(directory),
            image_store: store.path.join(store::ROOT),
            agent: node.path.join("agent"),
            runc: components.join("bin/runc"),
            kubectl: components.join("bin/kubectl"),
            components,
            _lease: Arc::new(lease),
        }
    }
}

/// Links the files of artifacts into the tree that a node mounts. The caller holds the slot's lock.
pub(super) fn node(slot: &Slot, title: &str, entries: &[(Artifact, Entry)], parts: Vec<String>) -> Result<Entry> {
    let begun = std::time::Instant::now();
    let partial = slot.begin()?;
    let components = partial.join("components");
    let mut known = Vec::new();
    for (_, entry) in entries.iter().filter(|(artifact, _)| artifact.definition.purpose == Use::Node) {
        let beside = |name: &&String| !Path::new(name).starts_with(build::KEPT);
        for name in entry.manifest.files.keys().chain(entry.manifest.links.keys()).filter(beside) {
            let (from, to) = (entry.path.join(name), components.join(name));
            let parent = to.parent().expect("it is below");
            fs::create_dir_all(parent).map_err(|error| trouble("make", parent, error))?;
            fs::hard_link(&from, &to).map_err(|error| trouble("link", &from, error))?;
        }
        known.extend(entry.manifest.files.values().cloned());
    }
    write_program(&partial.join("agent"), "kcl-node", embedded::AGENT.bytes)?;
    // A component, and a plugin of the container network.
    write_program(&components.join("bin"), POLICY, embedded::POLICY.bytes)?;
    let (program, plugin) = (components.join("bin").join(POLICY), components.join("cni").join(POLICY));
    fs::hard_link(&program, &plugin).map_err(|error| trouble("link", &program, error))?;
    let manifest = Manifest {
        title: title.into(),
        way: "assembled".into(),
        seconds: begun.elapsed().as_secs_f64(),
        parts,
        ..Manifest::default()
    };
    slot.commit(manifest, &[], &known)
}

fn write_program(directory: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = directory.join(name);
    let write = || {
        fs::create_dir_all(directory)?;
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
    };
    write().map_err(|error| trouble("write", &path, error))
}

/// Returns the directories of entries by the artifacts' names, for the assembly of images.
pub(super) fn directories(entries: &[(Artifact, Entry)]) -> BTreeMap<String, std::path::PathBuf> {
    entries.iter().map(|(artifact, entry)| (artifact.name().to_owned(), entry.path.clone())).collect()
}
