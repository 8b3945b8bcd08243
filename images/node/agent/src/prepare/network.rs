//! Links and routes of the node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use kcl_node_spec::NodeSpec;
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteScope, RouteType};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};

use crate::error::{Doing, Result};
use crate::facts::Facts;
use crate::prepare::overlay;

/// Brings links up and sets the routes of `spec`; routes to former peers of `before` are removed.
pub(crate) async fn apply(spec: &NodeSpec, before: Option<&NodeSpec>, facts: &Facts) -> Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection().doing(|| "open a netlink socket".to_owned())?;
    let connection = tokio::spawn(connection);
    let result = routes(spec, before, facts, &handle).await;
    connection.abort();
    result
}

async fn routes(spec: &NodeSpec, before: Option<&NodeSpec>, facts: &Facts, handle: &Handle) -> Result<()> {
    let network = &spec.network;
    let name = network.interface.as_str();
    let index = if_nametoindex(name).doing(|| format!("find the interface {name} (network.interface)"))?;
    if facts.init && facts.own_network {
        let loopback = if_nametoindex("lo").doing(|| "find the loopback interface".to_owned())?;
        let up = LinkUnspec::new_with_index(loopback).up().build();
        handle.link().set(up).execute().await.doing(|| "bring lo up".to_owned())?;
        let up = LinkUnspec::new_with_index(index).up().mtu(network.mtu).build();
        let what = || format!("bring {name} up with an MTU of {}", network.mtu);
        handle.link().set(up).execute().await.doing(what)?;
    }
    if let Some(gateway) = network.gateway {
        for (anywhere, gateway) in gateway.everywhere().via(gateway) {
            ensure(handle, index, anywhere, gateway).await?;
        }
    }
    // A pod has a route of its own. Without this one, packets to a deleted pod, such as an endpoint of an earlier run
    // that its kubelet has not updated, would leave by the default route; so they are refused at once.
    for pods in network.pod_cidr.iter() {
        let mut own = to(pods);
        own.header.kind = RouteType::Unreachable;
        let refused = handle.route().add(own).replace().execute().await;
        refused.doing(|| format!("refuse what is for no pod of {pods}"))?;
    }
    // kube-proxy redirects the node's own packets to a service, but only those with a route: a node without a default
    // route would reach no service, and its API server no API that a service serves.
    for (services, own) in network.service_cidr.via(spec.address) {
        let mut route = route(services, index, None);
        route.attributes.push(RouteAttribute::PrefSource(own.into()));
        let led = handle.route().add(route).replace().execute().await;
        led.doing(|| format!("set the route to the services {services}"))?;
    }
    for route in &spec.network.routes {
        ensure(handle, index, route.to, route.via).await?;
    }
    let wanted: Vec<(IpNet, IpAddr)> = peer_routes(spec).collect();
    for (pods, address) in &wanted {
        ensure(handle, index, *pods, *address).await?;
    }
    overlay::apply(spec, index, handle).await?;
    for (pods, address) in before.into_iter().flat_map(peer_routes) {
        if !wanted.iter().any(|(kept, _)| *kept == pods) {
            // A route that is already gone is fine.
            let _ = handle.route().del(route(pods, index, Some(address))).execute().await;
        }
    }
    Ok(())
}

/// Returns the route to the pods of each peer on this segment; the [`overlay`] leads to the others.
fn peer_routes(spec: &NodeSpec) -> impl Iterator<Item = (IpNet, IpAddr)> {
    spec.network.peers.iter().filter(|peer| !peer.overlay).flat_map(|peer| peer.pod_cidr.via(peer.address))
}

async fn ensure(handle: &Handle, index: u32, to: IpNet, via: IpAddr) -> Result<()> {
    let request = handle.route().add(route(to, index, Some(via))).replace();
    request.execute().await.doing(|| format!("set the route to {to} via {via}"))
}

/// Returns a route to a network by an interface: through a router, or on the link.
pub(crate) fn route(net: IpNet, index: u32, via: Option<IpAddr>) -> RouteMessage {
    let mut route = to(net);
    route.attributes.push(RouteAttribute::Oif(index));
    match via {
        Some(via) => route.attributes.push(RouteAttribute::Gateway(via.into())),
        None => route.header.scope = RouteScope::Link,
    }
    route
}

fn to(net: IpNet) -> RouteMessage {
    match net {
        IpNet::V4(net) => {
            RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(net.network(), net.prefix_len()).build()
        }
        IpNet::V6(net) => {
            RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(net.network(), net.prefix_len()).build()
        }
    }
}
