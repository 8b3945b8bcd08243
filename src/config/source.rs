//! Defaults < cluster file < environment < flags; settings of an existing cluster stay unless the user changes them.

use super::cluster_file::ClusterFile;
use super::flag::said_by;
use super::flags::{self, Overrides};
use super::spec::{ClusterSpec, DEFAULT_NAME};
use super::{change, file, limits, nodes, validate};
use crate::error::{Error, Id, Result};

/// Reads a variable of the environment.
type Var<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The wishes of the user for a cluster: the flags, the environment (`KCL_PROFILE`, `KCL_DRIVER`) and the cluster file,
/// each read once.
pub struct Source {
    overrides: Overrides,
    file: Option<ClusterFile>,
    name: Option<String>,
    /// The value of `KCL_DRIVER`.
    driver: Option<String>,
}

impl Source {
    /// Reads the cluster file and the environment.
    ///
    /// # Errors
    /// `Usage` for a file that cannot be read, and a name that is not one for a cluster.
    pub fn read(overrides: &Overrides) -> Result<Source> {
        Source::read_with(overrides, &|name| std::env::var(name).ok())
    }

    pub(super) fn read_with(overrides: &Overrides, var: Var<'_>) -> Result<Source> {
        let file = overrides.config.as_deref().map(file::read).transpose()?;
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let name = match (&overrides.profile, var("KCL_PROFILE")) {
            (Some(name), _) => Some(validate::cluster_name(name).map_err(said_by("--profile"))?),
            (None, Some(name)) => Some(validate::cluster_name(&name).map_err(said_by("the variable KCL_PROFILE"))?),
            (None, None) => file.as_ref().and_then(|file| file.name.clone()),
        };
        Ok(Source { overrides: overrides.clone(), file, name, driver: var("KCL_DRIVER") })
    }

    /// Returns the name of the cluster.
    pub fn profile_name(&self) -> &str {
        self.name.as_deref().unwrap_or(DEFAULT_NAME)
    }

    /// Returns the cluster that the user wants. Flags win over the environment, that over the cluster file, and that over
    /// the existing cluster or the defaults.
    ///
    /// Lists and tables replace those that exist, but `--extra-config` and `--feature-gates` add to them. Addons are
    /// checked by `addons`, which knows them.
    ///
    /// # Errors
    /// An id of the family `USAGE`; the message names the flag, the variable, or the file and its key, and says what is right.
    pub fn resolve(&self, existing: Option<&ClusterSpec>) -> Result<ClusterSpec> {
        let mut spec = match existing {
            Some(existing) => existing.clone(),
            None => ClusterSpec::with_defaults(self.profile_name()),
        };
        if let (Some(file), Some(path)) = (&self.file, &self.overrides.config) {
            file::apply(&mut spec, file)
                .map_err(|problem| Error::new(Id::ConfigInvalid, format!("{}: {problem}", path.display())))?;
        }
        // The variable is for clusters, and a further node's driver is that of its cluster.
        if let Some(value) = self.driver.as_ref().filter(|_| self.overrides.new_node.is_none()) {
            spec.driver = Some(validate::driver(value).map_err(said_by("the variable KCL_DRIVER"))?);
        }
        flags::apply(&mut spec, &self.overrides)?;
        self.control_planes(&mut spec, existing)?;
        spec.choose_driver_of_hosts();
        limits::check(&spec)?;
        if let Some(existing) = existing {
            change::check(existing, &spec)?;
        }
        Ok(spec)
    }

    /// Gives the cluster as many control planes as the flag or the cluster file says.
    fn control_planes(&self, spec: &mut ClusterSpec, existing: Option<&ClusterSpec>) -> Result<()> {
        let file = self.file.as_ref();
        let counted = self.overrides.nodes.is_some()
            || !self.overrides.hosts.is_empty()
            || file.is_some_and(|file| file.nodes.is_some());
        let in_file = file.and_then(|file| file.control_planes).zip(self.overrides.config.as_ref());
        match (self.overrides.control_planes, in_file) {
            (Some(count), _) => {
                nodes::control_planes(spec, existing, count, counted).map_err(said_by("--control-planes"))
            }
            (None, Some((count, path))) => nodes::control_planes(spec, existing, count, counted).map_err(|problem| {
                Error::new(Id::ConfigInvalid, format!("{}: control-planes: {problem}", path.display()))
            }),
            (None, None) => Ok(()),
        }
    }
}
