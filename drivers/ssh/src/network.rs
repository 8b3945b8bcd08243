//! The attachment of hosts to networks: read, never changed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures::future::try_join_all;
use kcl_driver_api::{Addresses, Error, ErrorKind, Link, Network, NetworkSpec, Result, Subnets};
use kcl_ssh_host::protocol::{Facts, Interface, Request};

use crate::context::Context;
use crate::host::{Absent, Connection, Host};

/// Returns the on-link network of the first host.
pub(crate) async fn propose(context: &Context, cluster: &str) -> Result<Subnets> {
    let hosts = context.hosts_of(cluster)?;
    let first = hosts.iter().find(|(name, _)| *name == cluster).or_else(|| hosts.iter().next());
    let (_, target) = first.ok_or_else(|| Context::no_host(cluster))?;
    let (interface, _) = attached(context, &context.pool.get(target)).await?;
    Ok(interface.address.trunc().into())
}

/// Returns the hosts' own addresses.
pub(crate) async fn addresses(context: &Context) -> Result<BTreeMap<String, Addresses>> {
    let all = context.hosts.iter().map(async |(machine, target)| {
        let (interface, _) = attached(context, &context.pool.get(target)).await?;
        Ok::<_, Error>((machine.clone(), interface.address.addr().into()))
    });
    Ok(try_join_all(all).await?.into_iter().collect())
}

/// Returns the links of all hosts.
pub(crate) async fn network(context: &Context, spec: &NetworkSpec) -> Result<Network> {
    let hosts = context.hosts_of(&spec.cluster)?;
    let all = hosts.iter().map(async |(machine, target)| {
        let (interface, ours) = attached(context, &context.pool.get(target)).await?;
        let Interface { name, address, mtu } = interface;
        let link = Link {
            interface: name,
            subnet: address.trunc().into(),
            gateway: None,
            mtu,
            host: None,
            masquerades: false,
        };
        Ok::<_, Error>((machine.clone(), link, ours))
    });
    let all = try_join_all(all).await?;
    let first = all.first().ok_or_else(|| Context::no_host(&spec.cluster))?;
    let host = all.iter().find_map(|(_, link, ours)| ours.filter(|ours| link.subnet.contains(*ours)));
    Ok(Network {
        subnet: spec.subnet,
        host: host.or_else(|| all.iter().find_map(|(_, _, ours)| *ours)),
        bridge: None,
        link: first.1.clone(),
        links: all.into_iter().map(|(machine, link, _)| (machine, link)).collect(),
    })
}

/// Returns the interface by which a host talks to this computer, and this computer's address as the host sees it.
async fn attached(context: &Context, host: &Host) -> Result<(Interface, Option<Addresses>)> {
    let connection = host.connection(&context.with.identity).await?;
    let facts: Facts = host.ask(&context.with, &Request::Facts { thorough: false }, Absent::Try).await?;
    let interface = interface(&facts, &connection).ok_or_else(|| {
        let message = format!("host {} has no interface with an IPv4 address but loopback", host.name());
        Error::new(ErrorKind::Host, message).hint("nodes talk to each other by IPv4: give it an address")
    })?;
    let ours = match connection.addresses {
        // Behind another host, this computer has that host's address.
        Some((IpAddr::V4(ours), _)) if !ours.is_loopback() && !connection.jumped => Some(ours.into()),
        _ => None,
    };
    Ok((interface, ours))
}

/// Finds the interface with the address of the connection; behind address translation, that of the default route.
fn interface(facts: &Facts, connection: &Connection) -> Option<Interface> {
    let reached = connection.addresses.map(|(_, own)| own);
    let mut interfaces = facts.interfaces.iter();
    let by_address = interfaces.clone().find(|one| Some(IpAddr::V4(one.address.addr())) == reached);
    let by_route = || interfaces.find(|one| Some(&one.name) == facts.default.as_ref());
    by_address.or_else(by_route).or(facts.interfaces.first()).cloned()
}
