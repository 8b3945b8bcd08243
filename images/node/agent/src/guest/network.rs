//! The machine's addresses and the routes that its driver asks for. The rest is `kcl-node run`'s, as everywhere.

use std::net::Ipv4Addr;

use kcl_node_spec::guest::{GuestConfig, GuestInterface, GuestRoute};
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};

use crate::error::{Doing, Result};

/// Sets them.
pub fn apply(config: &GuestConfig) -> Result<()> {
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
    let request = handle.address().add(index, address.addr().into(), address.prefix_len());
    request.execute().await.doing(|| format!("give {name} the address {address}"))?;
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
    let message = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(to.network(), to.prefix_len())
        .output_interface(index);
    let message = match route.via {
        Some(via) => message.gateway(via),
        None => message.scope(RouteScope::Link),
    };
    handle.route().add(message.build()).execute().await.doing(|| format!("set the route to {to} by {name}"))
}
