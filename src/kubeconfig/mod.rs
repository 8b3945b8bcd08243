//! The user's kubeconfig. kcl adds, removes and compares its own cluster, user and context, and keeps everything else.
//!
//! The location, the choice between several files and the lock follow `k8s.io/client-go/tools/clientcmd`, so that
//! kubectl and kcl do not write at the same time.

mod document;
mod failure;
mod file;
mod lock;
mod sec1;
mod standalone;
#[cfg(test)]
mod tests;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Id, Result};
use document::Document;
pub use document::Entry;
pub use standalone::standalone;

/// The location of the user's kubeconfig: one file, or several by precedence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubeconfig {
    files: Vec<PathBuf>,
}

/// The state of the kubeconfig with regard to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The context exists and leads to the cluster's API.
    Configured,
    /// No context has that name.
    Missing,
    /// The context leads elsewhere, or to nothing.
    Misconfigured,
}

impl Kubeconfig {
    /// Returns the files that kubectl uses: those in `$KUBECONFIG`, or `~/.kube/config`.
    pub fn from_env() -> Result<Self> {
        let list = std::env::var_os("KUBECONFIG").unwrap_or_default();
        let mut files: Vec<PathBuf> = Vec::new();
        for file in std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        if files.is_empty() {
            let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty()).ok_or_else(|| {
                Error::new(Id::KubeconfigUnusable, "the home directory of this user is not known")
                    .hint("set HOME, or KUBECONFIG to a file")
            })?;
            files.push(home.join(".kube/config"));
        }
        Ok(Kubeconfig { files })
    }

    /// Uses these files, by precedence; at least one.
    pub fn new(files: Vec<PathBuf>) -> Self {
        assert!(!files.is_empty(), "a kubeconfig is at least one file");
        Kubeconfig { files }
    }

    /// Writes `entry` into the file that has it, or into the first file that exists, and makes its context the current
    /// one unless `keep_context`. Returns the file. A file that is up to date is not written. An entry of that name
    /// that kcl did not make is an error and stays. This may wait seconds for another program's lock.
    pub fn merge(&self, entry: &Entry<'_>, keep_context: bool) -> Result<PathBuf> {
        let default = self.default_file();
        let mut place = default;
        // An entry is changed in its own file: another one in a file of lower precedence would have no effect.
        for path in self.files.iter().filter(|path| path.exists()) {
            if Document::read(path)?.has_entry(entry.profile) {
                place = path;
                break;
            }
        }
        file::edit(place, |document| {
            document.put(entry)?;
            if !keep_context && place == default {
                document.set_current_context(entry.profile);
            }
            Ok(())
        })?;
        if !keep_context && place != default {
            file::edit(default, |document| {
                document.set_current_context(entry.profile);
                Ok(())
            })?;
        }
        Ok(place.to_owned())
    }

    /// Removes kcl's entries for `profile` from all files, and unsets the current context if it was one of them.
    /// Returns the files that changed. Missing entries are not an error.
    pub fn remove(&self, profile: &str) -> Result<Vec<PathBuf>> {
        let mut changed = Vec::new();
        let mut ours = false;
        for path in self.files.iter().filter(|path| path.exists()) {
            ours |= Document::read(path)?.has_own_entry(profile);
        }
        for path in self.files.iter().filter(|path| ours && path.exists()) {
            if file::edit(path, |document| document.remove(profile))? {
                changed.push(path.clone());
            }
        }
        Ok(changed)
    }

    /// Returns the state of the kubeconfig with regard to the cluster of `profile`, whose API is at the URL `server`.
    pub fn check(&self, profile: &str, server: &str) -> Result<Check> {
        // If several entries have one name, the first file's counts.
        let (mut context, mut cluster, mut user) = (None, None, None);
        for path in self.files.iter().filter(|path| path.exists()) {
            let document = Document::read(path)?;
            context = context.or_else(|| document.context(profile));
            cluster = cluster.or_else(|| document.server(profile));
            user = user.or_else(|| document.has_user(profile).then_some(()));
        }
        let Some(context) = context else {
            return Ok(Check::Missing);
        };
        match context == (profile.to_owned(), profile.to_owned())
            && cluster.as_deref() == Some(server)
            && user.is_some()
        {
            true => Ok(Check::Configured),
            false => Ok(Check::Misconfigured),
        }
    }

    /// Returns the mode of a file that others than its owner may read.
    pub fn open_mode(file: &Path) -> Option<u32> {
        let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o777;
        (mode & 0o044 != 0).then_some(mode)
    }

    /// Returns the file that kubectl writes new entries to: the only one, the first that exists, or the last.
    fn default_file(&self) -> &Path {
        let existing = self.files.iter().find(|path| path.exists());
        existing.or(self.files.last()).expect("a kubeconfig is at least one file")
    }
}
