//! The configuration of the container network: a point-to-point link per pod, addresses of the node's own range, host
//! ports, and the wait for the policies of the pod.
//!
//! Addresses are recorded below `/run`, as the sandboxes that hold them end with the node.

use std::path::Path;

use kcl_node_spec::NodeSpec;
use serde_json::{Value, json};

use crate::components::POLICY;
use crate::error::Result;
use crate::files;
use crate::prepare::overlay;

/// The path at which containerd finds the configuration. It is written before containerd starts, which reloads on a
/// write but not on a create.
const CONFLIST: &str = "/etc/cni/net.d/10-kcl.conflist";

/// Writes the configuration.
pub(super) fn write(spec: &NodeSpec) -> Result<()> {
    files::write(Path::new(CONFLIST), format!("{:#}\n", conflist(spec)).as_bytes(), 0o600)
}

fn conflist(spec: &NodeSpec) -> Value {
    let pods = spec.network.pod_cidr;
    json!({
        "cniVersion": "1.0.0",
        "name": "kcl",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "mtu": overlay::pod_mtu(spec),
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/kcl/cni",
                    "ranges": pods.iter().map(|net| json!([{ "subnet": net }])).collect::<Vec<_>>(),
                    "routes": pods.everywhere().iter().map(|net| json!({ "dst": net })).collect::<Vec<_>>(),
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true }, "snat": true, "backend": "nftables" },
            { "type": POLICY },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;

    #[test]
    fn pods_get_addresses_of_the_node() {
        let found = conflist(&spec());
        assert_eq!(found["plugins"][0]["ipam"]["ranges"][0][0]["subnet"], "10.244.1.0/24");
        assert_eq!(found["plugins"][0]["mtu"], 1500);
        assert_eq!(found["plugins"][2]["type"], "kcl-policy", "last, as it hands on what the others made");
        let mut spec = spec();
        spec.network.peers[0].overlay = true;
        assert_eq!(conflist(&spec)["plugins"][0]["mtu"], 1450);
    }
}
