//! Kernel modules, where the kernel is the node's own and has them as files.

use std::path::Path;
use std::process::Command;

use crate::console::say;
use crate::supervise::Reaper;

/// What is wanted, and a path that exists once it is there. Most are autoloaded on first use; those that are not, or
/// whose absence shows only as an error in a pod, are here.
const WANTED: &[(&str, &str)] = &[
    ("overlay", "/sys/module/overlay"),
    ("nf_tables", "/sys/module/nf_tables"),
    ("nft_chain_nat", "/sys/module/nft_chain_nat"),
    ("nf_conntrack", "/proc/sys/net/netfilter/nf_conntrack_max"),
    ("veth", "/sys/module/veth"),
];

/// Loads what is missing. A failure is not fatal: it may be built in, and what needs it says so better.
pub async fn load(reaper: &Reaper) {
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
