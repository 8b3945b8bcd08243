//! containerd, with its CRI plugin.

use std::time::Duration;

use kcl_node_spec::SANDBOX_IMAGE;

use super::{Liveness, Process, Readiness};
use crate::facts::{Facts, PROTECTED};
use crate::paths::{self, CONTAINERD_ROOT};
use crate::proxy;

/// The socket of containerd.
pub(super) const SOCKET: &str = "/run/containerd/containerd.sock";

const CONFIG: &str = "containerd.toml";

/// The plugins that a node does not need: they would slow down the start, or need missing modules and disks.
const DISABLED: &[&str] = &[
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.native",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.differ.v1.erofs",
    "io.containerd.mount-handler.v1.erofs",
    "io.containerd.image-verifier.v1.bindir",
    "io.containerd.internal.v1.restart",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
];

/// The plugin without which containerd is of no use to the kubelet. With a damaged database it would run all the same.
const REQUIRED: &str = "io.containerd.grpc.v1.cri";

/// Returns the process of containerd.
pub(super) fn process(facts: &Facts) -> Process {
    Process {
        name: "containerd",
        args: vec!["--config".to_owned(), paths::rendered(CONFIG).to_string_lossy().into_owned()],
        formation: Vec::new(),
        files: vec![(CONFIG, config(facts))],
        reads: vec![paths::rendered(proxy::FILE).to_string_lossy().into_owned()],
        proxied: true,
        readiness: Readiness::Notify,
        liveness: Liveness::Grpc(SOCKET),
        after: &[],
        grace: Duration::from_secs(3),
        bounded_view: false,
        urgent: false,
        hands_over: false,
    }
}

fn config(facts: &Facts) -> String {
    let disabled = format!("{DISABLED:?}");
    let restrict = !facts.cap_sys_resource;
    let oom_score = if facts.oom_adjustable { PROTECTED } else { 0 };
    let runc = paths::binary("runc");
    let cni = paths::cni_plugins();
    format!(
        r#"version = 3
root = "{CONTAINERD_ROOT}"
state = "/run/containerd"
oom_score = {oom_score}
disabled_plugins = {disabled}
required_plugins = ["{REQUIRED}"]

[grpc]
address = "{SOCKET}"

[debug]
level = "warn"

[plugins."io.containerd.gc.v1.scheduler"]
startup_delay = "30s"

[plugins."io.containerd.nri.v1.nri"]
disable = true

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{SANDBOX_IMAGE}"

[plugins."io.containerd.cri.v1.images".registry]
config_path = "/etc/containerd/certs.d"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = {restrict}

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{cni}"]
conf_dir = "/etc/cni/net.d"

[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
"#,
        cni = cni.display(),
        runc = runc.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::facts;

    #[test]
    fn follows_what_the_machine_allows() {
        assert!(config(&facts()).contains("restrict_oom_score_adj = true\n"));
        assert!(config(&facts()).contains("oom_score = 0\n"));
        assert!(config(&facts()).contains("required_plugins = [\"io.containerd.grpc.v1.cri\"]\n"));
        let facts = Facts { cap_sys_resource: true, oom_adjustable: true, ..facts() };
        assert!(config(&facts).contains("restrict_oom_score_adj = false\n"));
        assert!(config(&facts).contains("oom_score = -998\n"));
    }
}
