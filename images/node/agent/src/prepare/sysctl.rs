//! Kernel parameters of the node's network namespace. The kubelet sets those of the whole kernel.

use std::fs;
use std::path::Path;

use crate::error::{Doing, Result};

/// A parameter, its value, and other values that are acceptable.
const WANTED: &[(&str, &str, &[&str])] = &[
    ("net/ipv4/ip_forward", "1", &[]),
    ("net/ipv4/conf/all/forwarding", "1", &[]),
    ("net/ipv6/conf/all/forwarding", "1", &[]),
    // Strict reverse path filtering drops packets that arrive by another route than the reply's: replies to masqueraded
    // node ports. Loose filtering is enough.
    ("net/ipv4/conf/all/rp_filter", "2", &["0"]),
    ("net/ipv4/conf/default/rp_filter", "2", &["0"]),
    // Removes the limit for "destination unreachable" (bit 3), which is limited by default: a pod would get six of
    // these and then one a second, and a resolver that queries a service without endpoints would get "refused" a few
    // times and then wait five seconds (`man 7 icmp`, icmp_ratemask; default 6168).
    ("net/ipv4/icmp_ratemask", "6160", &[]),
    // These exist only with br_netfilter, for network plugins with a bridge.
    ("net/bridge/bridge-nf-call-iptables", "1", &[]),
    ("net/bridge/bridge-nf-call-ip6tables", "1", &[]),
];

/// Sets the parameters that exist and differ.
pub(super) fn apply() -> Result<()> {
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
