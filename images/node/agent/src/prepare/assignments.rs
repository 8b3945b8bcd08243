//! The kubelet's assignments of CPUs and memory to containers (its CPU manager and memory manager).
//!
//! The kubelet refuses to start if such a file was written under another policy, with other reserved CPUs, or on a machine
//! of another size, and asks for its removal. The containers that it is about ended with the last run of the node, so it is
//! removed at each start, and the kubelet assigns again what its pods then need.

use std::path::Path;

use crate::error::{Doing, Result};

const FILES: [&str; 2] = ["cpu_manager_state", "memory_manager_state"];
const KUBELET: &str = "/var/lib/kubelet";

/// Forgets the assignments of containers that have ended. Only for a node whose containers end with the agent.
pub(super) fn forget() -> Result<()> {
    forget_in(Path::new(KUBELET))
}

fn forget_in(kubelet: &Path) -> Result<()> {
    for name in FILES {
        let path = kubelet.join(name);
        kcl_files::remove(&path).doing(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn assignments_end_with_their_containers() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["cpu_manager_state", "memory_manager_state", "dra_manager_state"] {
            fs::write(dir.path().join(name), "{}").unwrap();
        }
        forget_in(dir.path()).unwrap();
        forget_in(dir.path()).unwrap();
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["dra_manager_state"], "claims outlive containers");
    }
}
