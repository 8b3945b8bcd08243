//! Powers a machine on and off, with its link.

use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use kcl_driver_api::{Error, ErrorKind, MachineSpec, Result};
use kcl_driver_local::task::blocking;
use kcl_driver_oci::config::Attachment;
use kcl_driver_oci::layout::MachineNames;
use kcl_driver_oci::netlink::{self, Netlink};
use kcl_driver_oci::process::Process;
use kcl_driver_oci::run;

use crate::context::Context;
use crate::network::INTERFACE;

/// Starts the machine and returns when its first process runs.
pub(crate) async fn on(context: &Arc<Context>, names: &MachineNames, spec: MachineSpec) -> Result<()> {
    if Process::init(names).is_some() {
        return Ok(());
    }
    let runc = run::program(context.runc.as_deref())?;
    // Left by a crash, a kill or an unexpected end of the last boot.
    clear(context, names).await?;
    let result = async {
        plug_in(names, &spec).await?;
        let names = names.clone();
        blocking(move || {
            let link = Attachment::Link { host: &names.peer, interface: INTERFACE };
            run::run(&runc, &names, &spec, link)
        })
        .await
    }
    .await;
    if result.is_err() {
        clear(context, names).await.unwrap_or_else(|error| tracing::warn!("after a failed power-on: {error}"));
    }
    result
}

/// Asks the machine to end, waits, kills the rest, and removes everything that only a running machine has.
pub(crate) async fn off(context: &Arc<Context>, names: &MachineNames, grace: Duration) -> Result<()> {
    let of_machine = names.clone();
    blocking(move || run::ask_to_end(&of_machine, grace)).await?;
    clear(context, names).await
}

/// Kills the processes of the machine, and removes everything of it on the host except its directory.
pub(crate) async fn clear(context: &Arc<Context>, names: &MachineNames) -> Result<()> {
    let (runc, of_machine) = (context.runc.clone(), names.clone());
    blocking(move || run::clear(runc.as_deref(), &of_machine)).await?;
    // The peer goes with it, wherever it is: explicitly, as its namespace ends some time after its processes.
    let netlink = Netlink::connect()?;
    netlink.delete(&names.link).await
}

/// Gives the machine its link: in the bridge on this side, with the address on the other.
async fn plug_in(names: &MachineNames, spec: &MachineSpec) -> Result<()> {
    let netlink = Netlink::connect()?;
    let bridge = netlink.link(&names.cluster.bridge).await?.ok_or_else(|| netlink::no_network(&spec.cluster))?;
    let subnets = netlink.addresses(&bridge).await?;
    let address = spec.address.require_v4()?;
    let subnet = subnets.iter().find(|subnet| subnet.contains(&address)).ok_or_else(|| {
        let found: Vec<String> = subnets.iter().map(|subnet| subnet.trunc().to_string()).collect();
        let message = format!(
            "the address {} of machine {} is not on the network of cluster {} ({})",
            address,
            spec.name,
            spec.cluster,
            found.join(", ")
        );
        Error::new(ErrorKind::Conflict, message)
    })?;
    netlink
        .make_pair(&bridge, &names.link, &names.peer, names.mac, Ipv4Net::new_assert(address, subnet.prefix_len()))
        .await
}
