//! Manages a cluster's network: a bridge network of the engine, with addresses that kcl chose.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptions};
use ipnet::Ipv4Net;
use kcl_driver_api::{Error, ErrorKind, Link, Network, NetworkSpec, Result, Subnets};
use kcl_driver_local::link;

use crate::container::INTERFACE;
use crate::context::Context;
use crate::engine::{Engine, EngineContext as _, status};
use crate::image;
use crate::names::ClusterNames;
use crate::parameters;
use crate::subnet::{self, Taken};

/// The MTU if that of the default route is unknown: Ethernet's.
const DEFAULT_MTU: u32 = 1500;

/// The options of the engine's bridge driver.
const BRIDGE: &str = "com.docker.network.bridge.name";
const MTU: &str = "com.docker.network.driver.mtu";

/// Returns a free network; the one that the cluster has already, if any.
pub(crate) async fn propose(context: &Context, cluster: &str) -> Result<Subnets> {
    let engine = context.engine().await?;
    let names = context.names().await?.cluster(cluster)?;
    if let Some(there) = find(engine, &names).await?.as_ref().and_then(subnet_of) {
        return Ok(there.into());
    }
    let taken = taken(engine, &names, None).await?;
    subnet::propose(&taken).map(Subnets::from).ok_or_else(kcl_driver_local::subnet::none_free)
}

/// Returns everything that a network of the cluster could collide with, except itself and the bridge that it is to
/// join.
pub(crate) async fn taken(engine: &Engine, names: &ClusterNames, bridge: Option<&str>) -> Result<Vec<Taken>> {
    let own = names.network();
    let networks = engine.docker.list_networks(None::<ListNetworksOptions>).await.with_context(|| "list networks")?;
    let mut taken = Vec::new();
    for network in networks.into_iter().filter(|network| network.name.as_ref() != Some(&own)) {
        let by = format!("the engine's network {}", network.name.unwrap_or_default());
        for config in network.ipam.and_then(|ipam| ipam.config).into_iter().flatten() {
            // Networks of IPv6 do not collide.
            if let Some(net) = config.subnet.and_then(|subnet| subnet.parse().ok()) {
                taken.push(Taken { net, by: by.clone() });
            }
        }
    }
    if engine.facts.local {
        let own = names.bridge();
        taken.extend(subnet::routes(&route_table(), bridge.unwrap_or(&own)));
    }
    Ok(taken)
}

/// Reads the routes of this thread's network namespace.
fn route_table() -> String {
    fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default()
}

async fn find(engine: &Engine, names: &ClusterNames) -> Result<Option<NetworkInspect>> {
    let name = names.network();
    let found = engine.docker.inspect_network(&name, None::<InspectNetworkOptions>).await;
    found.if_found(|| format!("inspect the network {name}"))
}

fn ipam_of(network: &NetworkInspect) -> Option<&IpamConfig> {
    network.ipam.as_ref()?.config.as_ref()?.first()
}

fn subnet_of(network: &NetworkInspect) -> Option<Ipv4Net> {
    ipam_of(network)?.subnet.as_ref()?.parse().ok()
}

fn option<'a>(network: &'a NetworkInspect, name: &str) -> Option<&'a str> {
    network.options.as_ref()?.get(name).map(String::as_str)
}

/// Makes the network. An existing one that differs is recreated: no machine may be on it then.
pub(crate) async fn ensure(context: &Context, spec: &NetworkSpec) -> Result<Network> {
    let engine = context.engine().await?;
    let names = context.names().await?.cluster(&spec.cluster)?;
    let name = names.network();
    let subnet = spec.subnet.require_v4()?.trunc();
    let gateway = subnet
        .hosts()
        .next()
        .ok_or_else(|| Error::new(ErrorKind::SubnetTaken, format!("{subnet} has no room for machines")))?;
    let bridge = spec.bridge.clone().unwrap_or_else(|| names.bridge());
    let found = find(engine, &names).await?;
    // Podman keeps the name of the bridge elsewhere.
    let same_bridge = |there: &NetworkInspect| option(there, BRIDGE).is_none_or(|name| name == bridge);
    let right = |there: &NetworkInspect| subnet_of(there) == Some(subnet) && same_bridge(there);
    let mtu = match found.filter(right) {
        // This is the MTU that its machines have.
        Some(there) => option(&there, MTU).and_then(|mtu| mtu.parse().ok()).unwrap_or(DEFAULT_MTU),
        None => {
            let taken = taken(engine, &names, spec.bridge.as_deref()).await?;
            if let Some(other) = subnet::collisions(subnet, &taken).next() {
                let message = format!("the subnet {subnet} collides with {} ({})", other.by, other.net);
                return Err(Error::new(ErrorKind::SubnetTaken, message).hint("choose another with --subnet"));
            }
            // Also of the network that is replaced.
            let parameters = parameters::label(engine).await?.map(|values| (parameters::LABEL.to_owned(), values));
            remove(engine, &name).await?;
            let mtu = mtu(engine, spec.bridge.as_deref());
            let request = NetworkCreateRequest {
                name: name.clone(),
                driver: Some("bridge".to_owned()),
                ipam: Some(Ipam {
                    driver: Some("default".to_owned()),
                    config: Some(vec![IpamConfig {
                        subnet: Some(subnet.to_string()),
                        gateway: Some(gateway.to_string()),
                        ..IpamConfig::default()
                    }]),
                    ..Ipam::default()
                }),
                options: Some(HashMap::from([(BRIDGE.to_owned(), bridge.clone()), (MTU.to_owned(), mtu.to_string())])),
                labels: Some(names.labels().into_iter().chain(parameters).collect()),
                ..NetworkCreateRequest::default()
            };
            let made = engine.docker.create_network(request).await;
            made.with_context(|| format!("make the network {name} ({subnet})")).map_err(explained)?;
            mtu
        }
    };
    let reachable = engine.facts.local;
    let subnet = subnet.into();
    Ok(Network {
        subnet,
        // If the engine is elsewhere, the gateway is that host and not this one.
        host: reachable.then_some(gateway.into()),
        bridge: reachable.then_some(bridge),
        // The engine sets the default route itself.
        link: Link {
            interface: INTERFACE.to_owned(),
            subnet,
            gateway: None,
            mtu,
            host: None,
            // The engine's masquerading rule names no interface, so it also applies to what crosses a bridge if the
            // host's br_netfilter is on, as it is beside Docker.
            masquerades: engine.facts.name == "Podman",
        },
        links: BTreeMap::new(),
    })
}

/// Explains an engine's refusal to make a network.
fn explained(mut error: Error) -> Error {
    if ["overlaps", "conflicts", "already in use", "already exists"].iter().any(|word| error.message.contains(word)) {
        error.kind = ErrorKind::SubnetTaken;
        return error.hint("choose another network with --subnet");
    }
    error
}

/// Returns the MTU of this host's default route, or of the bridge that is joined.
fn mtu(engine: &Engine, bridge: Option<&str>) -> u32 {
    if !engine.facts.local {
        return DEFAULT_MTU;
    }
    let table = route_table();
    match bridge.or_else(|| subnet::default_interface(&table)) {
        Some(interface) => link::mtu(interface).unwrap_or(DEFAULT_MTU),
        None => DEFAULT_MTU,
    }
}

/// Removes the network, and images that are no longer needed.
pub(crate) async fn delete(context: &Context, cluster: &str) -> Result<()> {
    let engine = context.engine().await?;
    let names = context.names().await?.cluster(cluster)?;
    let found = find(engine, &names).await?;
    remove(engine, &names.network()).await?;
    let label = found.and_then(|network| network.labels?.remove(parameters::LABEL));
    parameters::restore(engine, label, &names.home).await?;
    image::remove_outdated(engine, &names.home).await
}

async fn remove(engine: &Engine, name: &str) -> Result<()> {
    match engine.docker.remove_network(name).await {
        // The engine says "has active endpoints".
        Err(error) if status(&error) == Some(403) => {
            let message =
                format!("the network {name} is in use by containers that do not belong to the cluster: {error}");
            Err(Error::new(ErrorKind::Conflict, message).hint(format!("see which with: docker network inspect {name}")))
        }
        result => result.if_found(|| format!("remove the network {name}")).map(|_| ()),
    }
}
