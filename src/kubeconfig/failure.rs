//! Errors about a kubeconfig file.

use std::fmt::Display;
use std::path::Path;

use crate::error::{Error, Id};

/// Returns the error for a problem with a kubeconfig file.
pub(super) fn error(path: &Path, problem: impl Display) -> Error {
    Error::new(Id::KubeconfigUnusable, format!("the kubeconfig {}: {problem}", path.display()))
}
