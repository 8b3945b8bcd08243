//! Connects a machine to a bridge: QEMU makes a tap, and kcl puts it into the bridge, which takes root.

use kcl_driver_api::Result;
use kcl_driver_local::context::Context as _;
use kcl_driver_vm::MachineNames;
use kcl_driver_vm::network::{Segment, tap};
use rtnetlink::LinkUnspec;

/// Puts the machine's tap into the bridge if the segment is one. QEMU has made the tap by then.
///
/// # Errors
/// `Host` if root is missing.
pub(crate) async fn plug_in(segment: &Segment, names: &MachineNames) -> Result<()> {
    let Some(bridge) = &segment.bridge else { return Ok(()) };
    let tap = tap(names);
    let what = || format!("put {tap} into the bridge {bridge}");
    let mtu = segment.mtu()?;
    let index = |name: &str| nix::net::if_::if_nametoindex(name).with_context(what);
    let link = LinkUnspec::new_with_index(index(&tap)?).controller(index(bridge)?).mtu(mtu).up().build();
    let (connection, handle, _) = rtnetlink::new_connection().with_context(what)?;
    let connection = tokio::spawn(connection);
    let result = handle.link().set(link).execute().await.with_context(what);
    connection.abort();
    result
}
