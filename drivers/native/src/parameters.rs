//! Kernel parameters that the kubelets of nodes set for the whole host: recorded before, and restored after the last
//! cluster.
//!
//! A kubelet sets them at its start (`setupKernelTunables` in pkg/kubelet/cm). With `kernel.panic_on_oops` a laptop would
//! reboot at a fault that it used to survive, long after its last cluster.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kcl_driver_api::Result;
use kcl_driver_local::storage;

/// The directory of the kernel's parameters.
pub(crate) const PARAMETERS: &str = "/proc/sys";

/// The parameters, and the values that kubelets set.
const SET: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

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
    let found = SET.iter().filter_map(|(name, _)| Some(((*name).to_owned(), read(parameters, name)?)));
    storage::write(&file, &found.collect::<BTreeMap<String, String>>())
}

/// Restores the parameters that still have the values of kubelets: others were changed by someone else since. One that
/// cannot be restored is no reason to keep a cluster.
pub(crate) fn restore(run: &Path, parameters: &Path) -> Result<()> {
    let before = storage::read::<BTreeMap<String, String>>(&record_file(run))?.unwrap_or_default();
    for (name, set) in SET {
        let Some(before) = before.get(name).filter(|before| *before != set) else { continue };
        if read(parameters, name).as_deref() == Some(set)
            && let Err(error) = fs::write(parameters.join(name), before)
        {
            tracing::warn!("the kernel parameter {} stays at {set}; it was {before}: {error}", name.replace('/', "."));
        }
    }
    storage::remove_file(&record_file(run))
}

fn read(parameters: &Path, name: &str) -> Option<String> {
    Some(fs::read_to_string(parameters.join(name)).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_kubelets_are_restored_and_others_left() {
        let (run, kernel) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let set = |name: &str, value: &str| {
            let path = kernel.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{value}\n")).unwrap();
        };
        for (name, value) in [("vm/overcommit_memory", "0"), ("kernel/panic", "0"), ("kernel/panic_on_oops", "0")] {
            set(name, value);
        }
        record(run.path(), kernel.path()).unwrap();
        for (name, value) in SET {
            set(name, value);
        }
        // A second cluster begins with the values of the first one's kubelets.
        record(run.path(), kernel.path()).unwrap();
        // The user's own.
        set("kernel/panic", "30");
        restore(run.path(), kernel.path()).unwrap();
        let now = |name: &str| read(kernel.path(), name).unwrap();
        assert_eq!(now("vm/overcommit_memory"), "0");
        assert_eq!(now("kernel/panic_on_oops"), "0");
        assert_eq!(now("kernel/panic"), "30");
        assert_eq!(now("kernel/keys/root_maxkeys"), "1000000", "it was not there before");
        assert!(!record_file(run.path()).exists());
        restore(run.path(), kernel.path()).unwrap();
    }
}
