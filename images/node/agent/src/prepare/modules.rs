//! Kernel modules, if the kernel is the node's own and has them as files.

use std::path::Path;
use std::process::Command;

use crate::console::say;
use crate::supervise::Reaper;

/// The required modules, each with a path that exists once it is loaded. Most modules are loaded on first use; these
/// are not, or their absence shows only as an error in a pod.
const WANTED: &[(&str, &str)] = &[
    ("overlay", "/sys/module/overlay"),
    ("nf_tables", "/sys/module/nf_tables"),
    ("nft_chain_nat", "/sys/module/nft_chain_nat"),
    ("nf_conntrack", "/proc/sys/net/netfilter/nf_conntrack_max"),
    ("veth", "/sys/module/veth"),
];

/// Loads the missing modules. A failure is not fatal: the module may be built in, and a component that needs it has the
/// better error message.
pub(super) async fn load(reaper: &Reaper) {
    let missing: Vec<&str> =
        WANTED.iter().filter(|(_, path)| !Path::new(path).exists()).map(|(name, _)| *name).collect();
    if missing.is_empty() || !Path::new("/lib/modules").is_dir() {
        return;
    }
    let mut command = Command::new("modprobe");
    command.arg("--all").args(&missing);
    if let Err(error) = reaper.run(command, None).await {
        say(format_args!("kernel modules {missing:?}: {error}"));
    }
}
