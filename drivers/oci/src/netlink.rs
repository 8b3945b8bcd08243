//! Manages links, addresses and routes of the host by rtnetlink(7).

use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use ipnet::{IpNet, Ipv4Net};
use kcl_driver_api::{Error, ErrorKind, Result};
use kcl_driver_local::context::Context as _;
use nix::errno::Errno;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteType};
use rtnetlink::{AddressMessageBuilder, Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder};

/// The number of `RT_TABLE_LOCAL` of rtnetlink(7): the host's own addresses.
const TABLE_LOCAL: u8 = 255;

/// A connection to the kernel, for the network namespace of the thread that makes it.
pub struct Netlink {
    handle: Handle,
    connection: tokio::task::JoinHandle<()>,
}

/// A link of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The index of the link.
    pub index: u32,
    /// The name of the link.
    pub name: String,
    /// The MTU in bytes.
    pub mtu: u32,
}

/// A network that the host owns or has a route to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The addresses of the network.
    pub net: Ipv4Net,
    /// The owner, for messages: `interface eth0`, `route 10.0.0.0/8 by tun0`.
    pub by: String,
    /// The link, if there is one.
    pub link: Option<String>,
}

impl Netlink {
    /// Connects to the kernel; requires a Tokio runtime.
    pub fn connect() -> Result<Netlink> {
        let (connection, handle, _) = rtnetlink::new_connection().with_context(|| "open a netlink socket")?;
        Ok(Netlink { handle, connection: tokio::spawn(connection) })
    }

    /// Returns all links.
    pub async fn links(&self) -> Result<Vec<Link>> {
        let messages: Vec<LinkMessage> =
            self.handle.link().get().execute().try_collect().await.with_context(|| "list the links of the host")?;
        Ok(messages.iter().map(link).collect())
    }

    /// Returns the link of that name, if there is one.
    pub async fn link(&self, name: &str) -> Result<Option<Link>> {
        let found = self.handle.link().get().match_name(name).execute().try_next().await;
        match found {
            Ok(message) => Ok(message.as_ref().map(link)),
            Err(error) if errno(&error) == Some(Errno::ENODEV) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("look for the link {name}")),
        }
    }

    /// Makes a bridge that is up and has an address, or repairs an existing one.
    pub async fn ensure_bridge(&self, name: &str, mac: [u8; 6], address: Ipv4Net, mtu: u32) -> Result<Link> {
        let make = LinkBridge::new(name).address(mac.to_vec()).mtu(mtu).up().build();
        match self.handle.link().add(make).execute().await {
            Err(error) if errno(&error) == Some(Errno::EEXIST) => {
                let change = LinkUnspec::new_with_name(name).mtu(mtu).up().build();
                let changed = self.handle.link().change(change).execute().await;
                changed.with_context(|| format!("repair the bridge {name}"))?;
            }
            result => result.with_context(|| format!("make the bridge {name}"))?,
        }
        let bridge = self.link(name).await?.ok_or_else(|| Error::engine(format!("the bridge {name} vanished")))?;
        self.set_address(&bridge, address).await?;
        Ok(bridge)
    }

    /// Makes a pair of links: one in the bridge and up, the other with an address, to be moved into a machine.
    pub async fn make_pair(&self, bridge: &Link, name: &str, peer: &str, mac: [u8; 6], address: Ipv4Net) -> Result<()> {
        let other = LinkUnspec::new_with_name(peer).address(mac.to_vec()).mtu(bridge.mtu).build();
        let pair = LinkVeth::new(name, peer)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(other)))
            .mtu(bridge.mtu)
            .controller(bridge.index)
            .up()
            .build();
        self.handle.link().add(pair).execute().await.with_context(|| format!("make the link {name}"))?;
        let other = self.link(peer).await?.ok_or_else(|| Error::engine(format!("the link {peer} vanished")))?;
        self.set_address(&other, address).await
    }

    async fn set_address(&self, link: &Link, address: Ipv4Net) -> Result<()> {
        let set = self.handle.address().add(link.index, IpAddr::V4(address.addr()), address.prefix_len()).replace();
        set.execute().await.with_context(|| format!("give {address} to {}", link.name))
    }

    /// Removes an address from a link.
    pub async fn remove_address(&self, link: &Link, address: Ipv4Net) -> Result<()> {
        let message = AddressMessageBuilder::<Ipv4Addr>::new().index(link.index);
        let message = message.address(address.addr(), address.prefix_len()).build();
        let removed = self.handle.address().del(message).execute().await;
        removed.with_context(|| format!("take {address} from {}", link.name))
    }

    /// Deletes a link; succeeds if it does not exist.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let Some(link) = self.link(name).await? else { return Ok(()) };
        match self.handle.link().del(link.index).execute().await {
            Err(error) if errno(&error) == Some(Errno::ENODEV) => Ok(()),
            result => result.with_context(|| format!("delete the link {name}")),
        }
    }

    /// Returns the IPv4 addresses of a link with their prefixes.
    pub async fn addresses(&self, link: &Link) -> Result<Vec<Ipv4Net>> {
        let all = self.handle.address().get().set_link_index_filter(link.index).execute();
        let messages: Vec<_> =
            all.try_collect().await.with_context(|| format!("list the addresses of {}", link.name))?;
        Ok(messages.iter().filter_map(|message| net(&message.attributes, message.header.prefix_len)).collect())
    }

    /// Returns all networks that a new one could collide with: addresses and routes of all tables except default
    /// routes.
    pub async fn taken(&self) -> Result<Vec<Taken>> {
        let links = self.links().await?;
        let name = |index: u32| links.iter().find(|link| link.index == index).map(|link| link.name.clone());
        let mut taken = Vec::new();
        let addresses: Vec<_> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .with_context(|| "list the addresses of the host")?;
        for message in &addresses {
            let link = name(message.header.index);
            if let Some(net) = net(&message.attributes, message.header.prefix_len) {
                let by = format!("interface {}", link.as_deref().unwrap_or("?"));
                taken.push(Taken { net: net.trunc(), by, link });
            }
        }
        for (net, output) in self.routes().await? {
            let link = output.and_then(name);
            if net.prefix_len() > 0 {
                let by = format!("route {net}{}", link.as_ref().map(|link| format!(" by {link}")).unwrap_or_default());
                taken.push(Taken { net, by, link });
            }
        }
        Ok(taken)
    }

    /// Returns the link of the default route.
    pub async fn default_link(&self) -> Result<Option<Link>> {
        let default = self.routes().await?.into_iter().find(|(net, output)| net.prefix_len() == 0 && output.is_some());
        let Some((_, Some(index))) = default else { return Ok(None) };
        Ok(self.links().await?.into_iter().find(|link| link.index == index))
    }

    /// Deletes the routes to destinations within a network, of the main table.
    pub async fn delete_routes_within(&self, net: IpNet) -> Result<()> {
        let all = self.handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
        let messages: Vec<_> = all.try_collect().await.with_context(|| "list the routes of the host")?;
        for message in messages {
            let destination = message.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
                _ => None,
            });
            let within = destination.is_some_and(|address| net.contains(&address))
                && message.header.destination_prefix_length >= net.prefix_len();
            if !within || message.header.table == TABLE_LOCAL {
                continue;
            }
            match self.handle.route().del(message).execute().await {
                // The route is gone with its link.
                Err(error) if errno(&error) == Some(Errno::ESRCH) => {}
                result => result.with_context(|| format!("delete a route within {net}"))?,
            }
        }
        Ok(())
    }

    /// Returns the destination and link of all routes except the kernel's own for local addresses.
    async fn routes(&self) -> Result<Vec<(Ipv4Net, Option<u32>)>> {
        let all = self.handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
        let messages: Vec<_> = all.try_collect().await.with_context(|| "list the routes of the host")?;
        let foreign = messages.iter().filter(|message| {
            let local = matches!(message.header.kind, RouteType::Local | RouteType::Broadcast | RouteType::Multicast);
            !local && message.header.table != TABLE_LOCAL
        });
        Ok(foreign
            .map(|message| {
                let mut destination = Ipv4Addr::UNSPECIFIED;
                let mut output = None;
                for attribute in &message.attributes {
                    match attribute {
                        RouteAttribute::Destination(RouteAddress::Inet(address)) => destination = *address,
                        RouteAttribute::Oif(index) => output = Some(*index),
                        _ => {}
                    }
                }
                let length = message.header.destination_prefix_length.min(32);
                (Ipv4Net::new_assert(destination, length), output)
            })
            .collect())
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link { index: message.header.index, name: String::new(), mtu: 0 };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            _ => {}
        }
    }
    link
}

/// Returns the address of a link: `IFA_LOCAL` is its own; on point-to-point links `IFA_ADDRESS` is the peer's.
fn net(attributes: &[AddressAttribute], prefix: u8) -> Option<Ipv4Net> {
    let local = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    });
    let other = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(IpAddr::V4(address)) => Some(*address),
        _ => None,
    });
    Ipv4Net::new(local.or(other)?, prefix).ok()
}

fn errno(error: &rtnetlink::Error) -> Option<Errno> {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.code.map(|code| Errno::from_raw(-code.get())),
        _ => None,
    }
}

/// Returns the error for a cluster without a network.
pub fn no_network(cluster: &str) -> Error {
    Error::new(ErrorKind::State, format!("the network of cluster {cluster} is missing"))
        .hint("recreate it with: kcl start")
}
