//! The record of kernel parameters that kubelets set: made before the first cluster, and used after the last.

use std::path::{Path, PathBuf};

use kcl_driver_api::Result;
use kcl_driver_local::parameters::{self, Values};
use kcl_driver_local::storage;

/// Returns the path of the record, on the tmpfs so that it ends with the settings.
fn record_file(run: &Path) -> PathBuf {
    run.join("parameters.json")
}

/// Records the parameters, unless there is a record already.
pub(crate) fn record(run: &Path, parameters: &Path) -> Result<()> {
    let file = record_file(run);
    if file.exists() {
        return Ok(());
    }
    storage::write(&file, &parameters::now(parameters))
}

/// Restores the parameters.
pub(crate) fn restore(run: &Path, parameters: &Path) -> Result<()> {
    let before = storage::read::<Values>(&record_file(run))?.unwrap_or_default();
    let left = parameters::restore(parameters::to_restore(&before, parameters), parameters);
    left.iter().for_each(|(name, value)| tracing::warn!("{}", parameters::warning(name, value)));
    storage::remove_file(&record_file(run))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_second_cluster_begins_with_the_values_of_the_first_ones_kubelets() {
        let (run, kernel) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = kernel.path().join("vm/overcommit_memory");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "0\n").unwrap();
        record(run.path(), kernel.path()).unwrap();
        fs::write(&path, "1\n").unwrap();
        record(run.path(), kernel.path()).unwrap();
        restore(run.path(), kernel.path()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "0");
        assert!(!record_file(run.path()).exists());
        restore(run.path(), kernel.path()).unwrap();
    }
}
