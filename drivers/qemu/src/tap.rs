//! A machine on a bridge: QEMU makes a tap, and kcl puts it into the bridge, which takes root.

use kcl_driver_api::Result;
use kcl_driver_vm::network::{Segment, tap};
use kcl_driver_vm::{Doing, MachineNames};
use rtnetlink::LinkUnspec;

/// Puts the machine's tap into the bridge, where the segment is one. QEMU has made it by then.
///
/// # Errors
/// `Host` where that needs root.
pub(crate) async fn plug_in(segment: &Segment, names: &MachineNames) -> Result<()> {
    let Some(bridge) = &segment.bridge else { return Ok(()) };
    let tap = tap(names);
    let what = || format!("put {tap} into the bridge {bridge}");
    let mtu = segment.mtu()?;
    let index = |name: &str| nix::net::if_::if_nametoindex(name).doing(what);
    let link = LinkUnspec::new_with_index(index(&tap)?).controller(index(bridge)?).mtu(mtu).up().build();
    let (connection, handle, _) = rtnetlink::new_connection().doing(what)?;
    let connection = tokio::spawn(connection);
    let result = handle.link().set(link).execute().await.doing(what);
    connection.abort();
    result
}
