//! Kernel parameters that the kubelets of nodes set for the whole host: known before, and restored after the last cluster.
//!
//! A kubelet sets them at its start (`setupKernelTunables` in pkg/kubelet/cm). With `kernel.panic_on_oops` a laptop would
//! reboot at a fault that it used to survive, long after its last cluster.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The directory of the kernel's parameters.
pub const PARAMETERS: &str = "/proc/sys";

/// Values by the paths of their parameters below [`PARAMETERS`].
pub type Values = BTreeMap<String, String>;

/// The parameters, and the values that kubelets set.
const SET: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Returns the values as they are.
pub fn now(parameters: &Path) -> Values {
    SET.iter().filter_map(|(name, _)| Some(((*name).to_owned(), read(parameters, name)?))).collect()
}

/// Returns the values to restore: those of parameters that have the values of kubelets. Others were changed by someone else
/// since.
pub fn to_restore(before: &Values, parameters: &Path) -> Values {
    let is_of_kubelet = |name: &str, set: &str| read(parameters, name).as_deref() == Some(set);
    let changed = SET.iter().filter(|(name, set)| is_of_kubelet(name, set));
    let earlier = changed.filter_map(|(name, set)| before.get_key_value(*name).filter(|(_, value)| value != set));
    earlier.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Restores values, and returns those that cannot be restored.
pub fn restore(values: Values, parameters: &Path) -> Values {
    values.into_iter().filter(|(name, value)| fs::write(parameters.join(name), value).is_err()).collect()
}

/// Returns the warning that a value cannot be restored, which is no reason to keep a cluster.
pub fn warning(name: &str, before: &str) -> String {
    format!("the kernel parameter {} stays as a kubelet set it; it was {before}", name.replace('/', "."))
}

fn read(parameters: &Path, name: &str) -> Option<String> {
    Some(fs::read_to_string(parameters.join(name)).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_kubelets_are_restored_and_others_left() {
        let kernel = tempfile::tempdir().unwrap();
        let set = |name: &str, value: &str| {
            let path = kernel.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{value}\n")).unwrap();
        };
        for (name, value) in [("vm/overcommit_memory", "0"), ("kernel/panic", "0"), ("kernel/panic_on_oops", "0")] {
            set(name, value);
        }
        let before = now(kernel.path());
        assert!(to_restore(&before, kernel.path()).is_empty());
        for (name, value) in SET {
            set(name, value);
        }
        // The user's own.
        set("kernel/panic", "30");
        let values = to_restore(&before, kernel.path());
        assert!(restore(values, kernel.path()).is_empty());
        let now = |name: &str| read(kernel.path(), name).unwrap();
        assert_eq!(now("vm/overcommit_memory"), "0");
        assert_eq!(now("kernel/panic_on_oops"), "0");
        assert_eq!(now("kernel/panic"), "30");
        assert_eq!(now("kernel/keys/root_maxkeys"), "1000000", "it was not there before");
        let missing = Values::from([("kernel/none/none".to_owned(), "1".to_owned())]);
        assert_eq!(restore(missing.clone(), kernel.path()), missing);
    }
}
