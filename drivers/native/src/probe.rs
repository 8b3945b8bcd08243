//! Tests the kernel in namespaces that are thrown away: no list of modules is as reliable.

use std::path::Path;

use kcl_driver_api::Error;
use kcl_driver_local::context::Context as _;
use kcl_driver_local::task::in_own_thread;
use kcl_driver_oci::netlink::Netlink;
use kcl_driver_oci::nft;
use nix::sched::{CloneFlags, unshare};

pub(crate) use kcl_driver_oci::try_out::{Problem, problem};

/// Makes a bridge with a link in it, and a table that masquerades; returns why either failed.
pub(crate) fn network(rootfs: Option<&Path>) -> (Problem, Problem) {
    let tried = in_own_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).with_context(|| "make a network namespace")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let links = runtime.with_context(|| "start a runtime")?.block_on(async {
            let netlink = Netlink::connect()?;
            let net = |text: &str| text.parse().map_err(|error| Error::engine(format!("{text}: {error}")));
            let bridge = netlink.ensure_bridge("kcl-probe", [2, 0, 0, 0, 0, 1], net("192.0.2.1/24")?, 1500).await?;
            netlink.make_pair(&bridge, "kv-probe", "kp-probe", [2, 0, 0, 0, 0, 2], net("192.0.2.2/24")?).await
        });
        let script = "table ip kcl_probe {\n chain postrouting {\n type nat hook postrouting priority 100;\n \
            ip saddr 192.0.2.0/24 oifname != \"kcl-probe\" masquerade\n }\n}\n";
        // Without a tree there may be no nft yet, and nothing to test with.
        let filter = rootfs.map_or(Ok(()), |tree| nft::nft(Some(tree), script));
        Ok((problem(links), problem(filter)))
    });
    tried.unwrap_or_else(|error| (Some(error.to_string()), None))
}
