//! Damaged data of etcd or containerd, which no other flag and no restart repairs.

use kcl_node_spec::Role;

use crate::error::{Error, Id};
use crate::state::NodeRecord;

/// A program that keeps data in a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    /// The objects of the cluster.
    Etcd,
    /// Images and containers, which can be made again.
    Containerd,
}

/// The words by which etcd and containerd report damaged data: those of their database (bbolt's `errors`) and of etcd's log
/// (`wal` and `snap`).
const WORDS: [&str; 7] = [
    "invalid database",
    "checksum error",
    "crc mismatch",
    "version mismatch",
    "wal: slice bounds out of range",
    "wal: max entry size limit exceeded",
    "failed to recover v3 backend from snapshot",
];

/// Returns the store that reports damaged data, in the output of a node's agent: a component's name begins a line, and its
/// last words follow, indented.
pub(super) fn of(output: &str) -> Option<Store> {
    let mut store = None;
    output.lines().find_map(|line| {
        if !line.starts_with(' ') {
            store = match line.split_once(": ") {
                Some(("etcd", _)) => Some(Store::Etcd),
                Some(("containerd", _)) => Some(Store::Containerd),
                _ => None,
            };
            return None;
        }
        store.filter(|_| WORDS.iter().any(|words| line.contains(words)))
    })
}

/// Makes the error for a node, which names the ways out.
pub(super) fn error(message: String, store: Store, profile: &str, node: &NodeRecord) -> Error {
    let error = Error::new(Id::NodeDamaged, message);
    let name = &node.name;
    let copy =
        |directory| format!("put a copy of {directory} back into {name}; `start --keep` leaves the node on for that");
    match (store, node.role) {
        (Store::Etcd, _) => error
            .hint("the data of etcd are damaged, and kcl leaves them as they are")
            .hint(copy("/var/lib/etcd"))
            .hint(format!("or start over, without the objects of the cluster: kcl delete -p {profile}")),
        (Store::Containerd, Role::Worker) => error
            .hint("the data of containerd are damaged: images and containers")
            .hint(format!("replace the node: kcl node stop -p {profile} {name}, kcl node delete -p {profile} {name}, kcl node add -p {profile}")),
        (Store::Containerd, Role::ControlPlane) => error
            .hint("the data of containerd are damaged: images and containers, but none of the cluster's objects")
            .hint(copy("/var/lib/containerd"))
            .hint(format!(
                "or save the objects and start over: kcl kubectl -p {profile} -- get all -A -o yaml, then kcl delete -p {profile}"
            )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_data_are_told_from_wrong_flags() {
        let output = "a component fails again and again\n\
            etcd: back-off, 3 restarts, last exit code 2\n  {\"msg\":\"failed to map db file: invalid database\"}\n\
            kube-apiserver: waiting, 0 restarts\n";
        assert_eq!(of(output), Some(Store::Etcd));
        let containerd = output.replace("etcd:", "containerd:").replace("invalid database", "checksum error");
        assert_eq!(of(&containerd), Some(Store::Containerd));
        assert_eq!(of(&output.replace("invalid database", "unknown flag: --zzz")), None);
        assert_eq!(of("kubelet: back-off, 3 restarts\n  version mismatch\n"), None);
    }
}
