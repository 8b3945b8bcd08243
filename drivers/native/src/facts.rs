//! The facts about this host that matter for a cluster. Judged in [`crate::preflight`].

use std::sync::Arc;

use kcl_driver_api::{PreflightRequest, Result};
use kcl_driver_local::task::blocking;
use kcl_driver_oci::facts::HostFacts;
use kcl_driver_oci::netlink::Taken;

use crate::context::Context;
use crate::network;
use crate::probe::{self, Problem};

/// The facts about this host that matter for a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The effective user of this process.
    pub uid: u32,
    /// The facts that one machine depends on.
    pub host: HostFacts,
    /// The reason why bridges and links cannot be made.
    pub links: Problem,
    /// The reason why masquerading cannot be set.
    pub filter: Problem,
    /// The networks that a cluster's network could collide with.
    pub networks: Vec<Taken>,
    /// The cluster's own bridge, with which it does not collide.
    pub bridge: String,
}

/// Reads the facts about this host.
pub(crate) async fn gather(context: &Arc<Context>, request: &PreflightRequest) -> Result<Facts> {
    let networks = network::in_use(context, &request.cluster).await?;
    let bridge = context.layout.cluster(&request.cluster)?.bridge;
    let context = context.clone();
    blocking(move || {
        let uid = nix::unistd::geteuid().as_raw();
        // Only root can try.
        let (links, filter) = if uid == 0 { probe::network(context.rootfs.as_deref()) } else { (None, None) };
        let host = HostFacts::gather(&context.layout.home, uid == 0)?;
        Ok(Facts { uid, host, links, filter, networks, bridge })
    })
    .await
}
