//! What everything is called in libvirt, which has one place for the names of all homes and clusters.

use kcl_driver_vm::{ClusterNames, MachineNames};

/// The domain of a machine.
pub(crate) fn domain(names: &MachineNames) -> String {
    format!("kcl-{}-{}", names.cluster.hash, names.name)
}

/// The network of a cluster.
pub(crate) fn network(names: &ClusterNames) -> String {
    format!("kcl-{}", names.hash)
}

/// The bridge of that network: at most 15 characters, as the kernel wants it.
pub(crate) fn bridge(names: &ClusterNames) -> String {
    format!("kclv-{}", names.hash)
}
