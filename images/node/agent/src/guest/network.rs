//! The machine's addresses and the routes that its driver requests. `kcl-node run` does the rest, as on all machines.

use kcl_node_spec::guest::{GuestConfig, GuestInterface, GuestRoute};
use nix::net::if_::if_nametoindex;
use rtnetlink::{Handle, LinkUnspec};

use crate::error::{Doing, Result};
use crate::prepare::network;

/// Sets the addresses and routes.
pub(super) fn apply(config: &GuestConfig) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.doing(|| "start the event loop".to_owned())?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().doing(|| "open a netlink socket".to_owned())?;
        let connection = tokio::spawn(connection);
        let result = all(config, &handle).await;
        connection.abort();
        result
    })
}

async fn all(config: &GuestConfig, handle: &Handle) -> Result<()> {
    up(handle, "lo", None).await?;
    for interface in &config.interfaces {
        add(handle, interface).await?;
    }
    for route in &config.routes {
        set(handle, route).await?;
    }
    Ok(())
}

async fn add(handle: &Handle, interface: &GuestInterface) -> Result<()> {
    let (name, address) = (&interface.name, interface.address);
    let index = if_nametoindex(name.as_str()).doing(|| format!("find the interface {name}"))?;
    for address in address.iter() {
        let request = handle.address().add(index, address.addr(), address.prefix_len());
        request.execute().await.doing(|| format!("give {name} the address {address}"))?;
    }
    up(handle, name, Some(interface.mtu)).await
}

async fn up(handle: &Handle, name: &str, mtu: Option<u32>) -> Result<()> {
    let index = if_nametoindex(name).doing(|| format!("find the interface {name}"))?;
    let link = LinkUnspec::new_with_index(index).up();
    let link = mtu.into_iter().fold(link, |link, mtu| link.mtu(mtu));
    handle.link().set(link.build()).execute().await.doing(|| format!("bring {name} up"))
}

async fn set(handle: &Handle, route: &GuestRoute) -> Result<()> {
    let (to, name) = (route.to, &route.interface);
    let index = if_nametoindex(name.as_str()).doing(|| format!("find the interface {name}"))?;
    handle
        .route()
        .add(network::route(to, index, route.via))
        .execute()
        .await
        .doing(|| format!("set the route to {to} by {name}"))
}
