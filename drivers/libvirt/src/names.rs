//! Names everything in libvirt, which has one namespace for all homes and clusters.

use kcl_driver_vm::{ClusterNames, MachineNames};

/// Returns the name of a machine's domain.
pub(crate) fn domain(names: &MachineNames) -> String {
    format!("kcl-{}-{}", names.cluster.hash, names.name)
}

/// Returns the name of a cluster's network.
pub(crate) fn network(names: &ClusterNames) -> String {
    format!("kcl-{}", names.hash)
}

/// Returns the name of that network's bridge: at most 15 characters, the kernel's limit.
pub(crate) fn bridge(names: &ClusterNames) -> String {
    format!("kclv-{}", names.hash)
}
