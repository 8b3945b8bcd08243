//! Control groups for the kubelet.
//!
//! In the unified hierarchy a group has either processes or controllers for its children ("no internal processes",
//! cgroups(7)). The kubelet needs controllers below the root of the node, so every process there, the agent first,
//! moves to a leaf; the components, its children, start there.

use std::fs;
use std::path::Path;

use crate::error::{Doing, Result};
use crate::facts::Cgroup;
use crate::files;

const ROOT: &str = "/sys/fs/cgroup";
const LEAF: &str = "kcl";

/// Moves all processes to a leaf. The old hierarchies need no change.
pub(super) fn delegate(cgroup: Cgroup) -> Result<()> {
    if cgroup == Cgroup::V1 {
        return Ok(());
    }
    let root = Path::new(ROOT);
    let leaf = root.join(LEAF);
    files::create_dir(&leaf)?;
    for pid in files::read(root.join("cgroup.procs"))?.lines() {
        // Kernel threads of a VM cannot be moved, and a process may have ended meanwhile.
        let _ = fs::write(leaf.join("cgroup.procs"), pid);
    }
    for controller in files::read(root.join("cgroup.controllers"))?.split_whitespace() {
        fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"))
            .doing(|| format!("enable the controller {controller} below {ROOT}"))?;
    }
    Ok(())
}
