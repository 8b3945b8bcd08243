//! The OCI image layout (OCI image specification 1.1), as a directory or in an archive; `docker save` writes it too
//! since Docker 25. An index may hold an image for several platforms, attestations beside it, and other indexes.

use std::collections::HashMap;

use super::docker;
use super::files::Files;
use super::manifest::{Described, Index, Manifest, checked, path};
use super::platform::{Candidate, Group};
use crate::error::{Error, Id, Result};
use crate::images::image::{Blob, Data, Image};
use crate::images::reference::normalize;

/// The annotation of containerd and Docker for the full name of an image.
const NAME: &str = "io.containerd.image.name";
/// The annotation of the specification; often a tag only.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Returns the images of a layout; `name` replaces the names of its only image.
pub(super) fn images(files: &Files, name: Option<&str>) -> Result<Vec<Image>> {
    let index: Index = files.json("index.json")?;
    let named = if name.is_none() { docker::names(files)? } else { HashMap::new() };
    // The entries of one image for several platforms have the same name, or none has one.
    let mut groups: Vec<Group> = Vec::new();
    for entry in &index.manifests {
        let given = match name {
            Some(_) => None,
            None => name_of(files, entry)?,
        };
        match groups.iter_mut().find(|group| group.name == given) {
            Some(group) => group.add(files, entry)?,
            None => {
                let mut group = Group::new(given);
                group.add(files, entry)?;
                groups.push(group);
            }
        }
    }
    let mut images: Vec<Image> = Vec::new();
    for group in &mut groups {
        for Candidate { manifest, blob, .. } in group.choose(files)? {
            let mut names: Vec<String> = group.name.iter().cloned().collect();
            if names.is_empty() {
                names = named.get(&path(manifest.config())?).cloned().unwrap_or_default();
            }
            // An image with several names has an entry for each.
            match images.iter_mut().find(|image| image.manifest.descriptor.digest == blob.descriptor.digest) {
                Some(image) => image.names.extend(names),
                None => images.push(image(files, names, &manifest, blob)?),
            }
        }
    }
    match (images.as_mut_slice(), name) {
        ([], _) => Err(groups.iter_mut().find_map(|group| group.missing(files)).unwrap_or_else(|| {
            let why = if index.manifests.is_empty() { "its index is empty" } else { "it has nothing but attestations" };
            Error::new(Id::ImageForeign, format!("{} has no image: {why}", files.name))
        })),
        ([image], Some(name)) => {
            image.names = vec![name.to_owned()];
            Ok(images)
        }
        (several, Some(name)) => Err(Error::new(
            Id::FlagInvalid,
            format!("{} has {} images, but --name {name} can name only one", files.name, several.len()),
        )),
        (several, None) => {
            for image in several {
                image.names.sort();
                image.names.dedup();
            }
            Ok(images)
        }
    }
}

/// Returns the full name that an entry of `index.json` gives. A tag alone is no name.
fn name_of(files: &Files, entry: &Described) -> Result<Option<String>> {
    let full = entry.annotations.get(REF_NAME).filter(|name| name.contains(['/', ':']));
    let Some(name) = entry.annotations.get(NAME).or(full) else { return Ok(None) };
    let named = normalize(name).map_err(|error| {
        Error::new(Id::ImageDamaged, format!("index.json in {}: {}", files.name, error.message))
            .hint("give the image another name with: --name app:1")
    });
    named.map(Some)
}

fn image(files: &Files, names: Vec<String>, manifest: &Manifest, blob: Blob) -> Result<Image> {
    let (config, layers) = manifest.parts();
    let config = Blob { data: Data::Bytes(checked(files, &config.digest)?), descriptor: config };
    // A layer may be absent from the archive if the nodes have it; otherwise an error names it.
    let layers = layers.into_iter().map(|layer| files.blob(&path(&layer.digest)?, layer)).collect::<Result<_>>()?;
    Image::new(names, blob, config, layers)
}
