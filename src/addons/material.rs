//! Artifacts that addons are made from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::artifacts::ImageArchive;

/// Artifacts that addons are made from.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// Images that nodes do not have from the start.
    pub images: Vec<ImageArchive>,
    /// Manifests that come with artifacts, by addon.
    pub manifests: BTreeMap<String, Vec<PathBuf>>,
    /// Archives of charts in registries, by addon.
    pub charts: BTreeMap<String, PathBuf>,
}
