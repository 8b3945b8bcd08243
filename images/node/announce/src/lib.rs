//! Further addresses that a node answers for: those of Services of type LoadBalancer, and that of the API. They are on its
//! loopback interface, marked by a label, and announced to its segment.
//!
//! The kernel answers ARP on every interface for an address of any of its own (`man 7 ip`, arp_ignore). On the loopback
//! interface an address is never chosen as the source of the node's own packets, and is not taken for an address of the
//! node.

mod arp;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use arp::Interface;
use futures::TryStreamExt;
use ipnet::IpNet;
use kcl_node_spec::Addresses;
use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::LinkAttribute;

/// The loopback interface is the first of every network namespace.
const LOOPBACK: u32 = 1;

/// The addresses that one program adds to a node.
#[derive(Clone, Debug)]
pub struct Held {
    handle: Handle,
    label: &'static str,
}

impl Held {
    /// Opens the links of this network namespace. The label tells this program's addresses from those of others: the kernel
    /// requires that it begins with `lo:`, and has at most 15 characters. Must run within a Tokio runtime.
    ///
    /// # Errors
    /// No netlink socket can be opened.
    pub fn connect(label: &'static str) -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Held { handle, label })
    }

    /// Returns the addresses that this program added, also in an earlier process.
    ///
    /// # Errors
    /// The kernel's, with the request that failed; so are those of all methods.
    pub async fn own(&self) -> io::Result<BTreeSet<IpAddr>> {
        let all = self.all().await?;
        let labelled =
            |message: &&AddressMessage| message.attributes.contains(&AddressAttribute::Label(self.label.to_owned()));
        Ok(all.iter().filter(labelled).filter_map(address).collect())
    }

    /// Adds an address; succeeds if it already exists.
    pub async fn add(&self, address: IpAddr) -> io::Result<()> {
        let mut request = self.handle.address().add(LOOPBACK, address, IpNet::from(address).prefix_len()).replace();
        *request.message_mut() = message(address, self.label);
        request.execute().await.map_err(|error| cannot(&format!("add the address {address}"), error))
    }

    /// Removes an address.
    pub async fn remove(&self, address: IpAddr) -> io::Result<()> {
        let removed = self.handle.address().del(message(address, self.label)).execute().await;
        removed.map_err(|error| cannot(&format!("remove the address {address}"), error))
    }

    /// Announces addresses through the interfaces that have the node's own address.
    pub async fn announce(&self, node: Addresses, addresses: &BTreeSet<IpAddr>) -> io::Result<()> {
        if addresses.is_empty() {
            return Ok(());
        }
        for interface in self.interfaces(node).await? {
            // IPv6 has no ARP, and nothing has an address of it yet.
            for address in addresses.iter().filter_map(|address| Addresses::from(*address).v4()) {
                arp::announce(interface, address).map_err(|error| cannot(&format!("announce {address}"), error))?;
            }
        }
        Ok(())
    }

    async fn interfaces(&self, node: Addresses) -> io::Result<Vec<Interface>> {
        let all = self.all().await?;
        let having = all
            .iter()
            .filter(|message| address(message).is_some_and(|own| node.overlaps(own.into())))
            .map(|message| message.header.index);
        let having: BTreeSet<u32> = having.filter(|index| *index != LOOPBACK).collect();
        let links = self.handle.link().get().execute().try_collect().await;
        let links: Vec<_> = links.map_err(|error| cannot("list the node's links", error))?;
        let mac = |attributes: &[LinkAttribute]| {
            attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok(),
                _ => None,
            })
        };
        let near = links.iter().filter(|link| having.contains(&link.header.index));
        Ok(near.filter_map(|link| Some(Interface { index: link.header.index, mac: mac(&link.attributes)? })).collect())
    }

    async fn all(&self) -> io::Result<Vec<AddressMessage>> {
        let all = self.handle.address().get().execute();
        all.try_collect().await.map_err(|error| cannot("list the node's addresses", error))
    }
}

fn cannot(what: &str, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("cannot {what}: {error}"))
}

fn message(address: IpAddr, label: &str) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.index = LOOPBACK;
    message.header.prefix_len = IpNet::from(address).prefix_len();
    message.header.scope = AddressScope::Universe;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
        AddressAttribute::Label(label.to_owned()),
    ];
    message
}

fn address(message: &AddressMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    })
}
