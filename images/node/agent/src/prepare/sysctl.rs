//! Kernel parameters of the node's network namespace. Those of the whole kernel are the kubelet's business.

use std::fs;
use std::path::Path;

use crate::error::{Doing, Result};

/// A parameter, what it must be, and values that will do as well.
const WANTED: &[(&str, &str, &[&str])] = &[
    ("net/ipv4/ip_forward", "1", &[]),
    ("net/ipv4/conf/all/forwarding", "1", &[]),
    ("net/ipv6/conf/all/forwarding", "1", &[]),
    // Strict reverse path filtering drops what comes in by another way than it would go out: replies to masqueraded
    // node ports. Loose is enough.
    ("net/ipv4/conf/all/rp_filter", "2", &["0"]),
    ("net/ipv4/conf/default/rp_filter", "2", &["0"]),
    // Without a limit for "destination unreachable" (bit 3), which is among the limited types by default: it would send
    // a pod six of these and then one a second, and a resolver that asks for a service without endpoints would hear
    // "refused" a few times and then wait five seconds for nothing (`man 7 icmp`, icmp_ratemask; default 6168).
    ("net/ipv4/icmp_ratemask", "6160", &[]),
    // Only present with br_netfilter, for network plugins with a bridge.
    ("net/bridge/bridge-nf-call-iptables", "1", &[]),
    ("net/bridge/bridge-nf-call-ip6tables", "1", &[]),
];

/// Sets what is there and differs.
pub fn apply() -> Result<()> {
    for (name, value, also) in WANTED {
        let path = Path::new("/proc/sys").join(name);
        let Ok(found) = fs::read_to_string(&path) else { continue };
        if found.trim() != *value && !also.contains(&found.trim()) {
            fs::write(&path, value)
                .doing(|| format!("set the kernel parameter {} to {value}", name.replace('/', ".")))?;
        }
    }
    Ok(())
}
