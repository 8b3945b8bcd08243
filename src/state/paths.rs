//! The directories of kcl on the host.

use std::ffi::OsString;
use std::path::PathBuf;

use etcetera::BaseStrategy;

use crate::error::{Error, Id, Result};

/// The two directories of kcl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The data that must not be lost: clusters and locks. `KCL_HOME`, or `kcl` in the XDG data directory; absolute.
    pub home: PathBuf,
    /// The data that can be fetched or built again. `KCL_CACHE`, or `kcl` in the XDG cache directory; absolute.
    pub cache: PathBuf,
}

impl Paths {
    /// Returns the directories of this process.
    pub fn from_env() -> Result<Self> {
        Paths::from_vars(|name| std::env::var_os(name))
    }

    /// Returns the directories by variables; an empty variable counts as unset.
    fn from_vars(var: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let path = |name: &str, default: fn(&etcetera::base_strategy::Xdg) -> PathBuf| {
            let path = match var(name).filter(|value| !value.is_empty()) {
                Some(value) => PathBuf::from(value),
                None => default(&etcetera::base_strategy::Xdg::new().map_err(|error| {
                    Error::new(Id::FlagInvalid, "the home directory of this user is not known")
                        .hint(format!("set HOME, or {name} to a directory"))
                        .source(error)
                })?)
                .join("kcl"),
            };
            std::path::absolute(&path).map_err(|error| {
                Error::new(Id::FlagInvalid, format!("{name}={}: not a usable path: {error}", path.display()))
            })
        };
        Ok(Paths { home: path("KCL_HOME", |xdg| xdg.data_dir())?, cache: path("KCL_CACHE", |xdg| xdg.cache_dir())? })
    }

    /// Returns the directory of all clusters.
    pub fn clusters(&self) -> PathBuf {
        self.home.join("clusters")
    }

    /// Returns the directory of a cluster.
    pub fn cluster(&self, name: &str) -> PathBuf {
        self.clusters().join(name)
    }

    /// Returns the directory of locks, which a deletion does not remove.
    pub fn locks(&self) -> PathBuf {
        self.home.join("locks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_win_and_paths_are_absolute() {
        let paths = Paths::from_vars(|name| Some(if name == "KCL_HOME" { "/x/home" } else { "cache" }.into())).unwrap();
        assert_eq!(paths.home, PathBuf::from("/x/home"));
        assert_eq!(paths.cache, std::env::current_dir().unwrap().join("cache"));
        assert_eq!(paths.cluster("a"), PathBuf::from("/x/home/clusters/a"));
    }

    #[test]
    fn the_defaults_are_below_the_xdg_directories() {
        let paths = Paths::from_vars(|_| Some(OsString::new())).unwrap();
        assert!(paths.home.is_absolute() && paths.home.ends_with("kcl"));
        assert!(paths.cache.is_absolute() && paths.cache.ends_with("kcl"));
    }
}
