//! The addons that a cluster can have: those of kcl, and the user's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::copies;
use super::definition::Addon;
use super::files::{self, Files};
use super::registry;
use super::selection::{self, Selected};
use crate::addon_config::{AddonConfig, is_reference};
use crate::artifacts::embedded;
use crate::error::{Error, Id, Result};

/// The origin of kcl's own addons.
pub const BUILT_IN: &str = "built-in";

/// The addons that a cluster can have, by name.
#[derive(Clone, Debug)]
pub struct Available {
    addons: BTreeMap<String, Addon>,
    /// The user's own addons of which the cluster has no copy yet.
    new: Vec<New>,
}

/// A user's own addon, read from its source.
#[derive(Clone, Debug)]
struct New {
    name: String,
    source: PathBuf,
    files: Files,
}

impl Available {
    /// Returns the addons of kcl.
    pub fn built_in() -> Result<Available> {
        let addon = |(name, texts): &(&str, &[(&str, &str)])| {
            let files = texts.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
            Ok(((*name).to_owned(), Addon::parse(name, BUILT_IN, files)?))
        };
        Ok(Available { addons: embedded::ADDONS.iter().map(addon).collect::<Result<_>>()?, new: Vec::new() })
    }

    /// Returns the addons of kcl, and the user's own of which copies lie in `copies`.
    pub fn with_copies(copies: &Path) -> Result<Available> {
        let mut available = Available::built_in()?;
        for (name, origin, files) in copies::read(copies)? {
            let addon = Addon::parse(&name, &origin, files)?;
            available.addons.insert(name, addon);
        }
        Ok(available)
    }

    /// Returns the addons of kcl, the copies, and the addons whose sources `config` names; those in registries are pulled.
    ///
    /// # Errors
    /// `Usage` for an addon that cannot be read or has the name of one of kcl's; `Artifact` if one cannot be pulled.
    pub async fn with_sources(copies: &Path, config: &BTreeMap<String, AddonConfig>) -> Result<Available> {
        let mut available = Available::with_copies(copies)?;
        for (name, source) in config.iter().filter_map(|(name, config)| Some((name, config.source.as_ref()?))) {
            let origin = source.display().to_string();
            if available.addons.get(name).is_some_and(|addon| addon.origin == BUILT_IN) {
                let message = format!("{origin}: kcl itself has an addon called {name}");
                return Err(Error::new(Id::AddonConflict, message).hint("rename the folder or archive of yours"));
            }
            let files = match is_reference(source) {
                true => registry::pull(&origin).await?,
                false => files::read(source)?,
            };
            available.addons.insert(name.clone(), Addon::parse(name, &origin, files.clone())?);
            available.new.push(New { name: name.clone(), source: source.clone(), files });
        }
        Ok(available)
    }

    /// Returns an addon by its name; the error suggests the nearest one.
    pub fn find(&self, name: &str) -> Result<&Addon> {
        selection::find(&self.addons, name)
    }

    /// Returns all addons, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Addon> {
        self.addons.values()
    }

    /// Returns the addons that a cluster is to have, each after those that it needs.
    ///
    /// # Errors
    /// `Usage` for an unknown addon or value, a value of another type, and a version of Kubernetes that an addon does not
    /// support.
    pub fn select(&self, config: &BTreeMap<String, AddonConfig>, kubernetes: &str) -> Result<Vec<Selected>> {
        selection::select(&self.addons, config, kubernetes)
    }

    /// Removes the values of an addon that are not valid (any more), so that the defaults apply. Returns a sentence for each.
    pub fn drop_invalid(&self, name: &str, config: &mut AddonConfig) -> Vec<String> {
        let Some(addon) = self.addons.get(name) else { return Vec::new() };
        let mut dropped = Vec::new();
        config.values.retain(|key, value| match selection::check_value(addon, key, value) {
            Ok(()) => true,
            Err(problem) => {
                dropped.push(format!("the addon {name}: {problem}; its default applies"));
                false
            }
        });
        dropped
    }

    /// Copies the addons that were read from their sources to `copies`, in place of earlier copies.
    pub fn keep(&self, copies: &Path) -> Result<()> {
        self.new.iter().try_for_each(|new| copies::keep(copies, &new.name, &new.source, &new.files))
    }
}
