//! The addresses that this node answers for. They are on its loopback interface, marked by a label.
//!
//! The kernel answers ARP on every interface for an address of any of its own (`man 7 ip`, arp_ignore). On the loopback
//! interface an address is never chosen as the source of the node's own packets, and is not taken for an address of the
//! node.

use std::collections::BTreeSet;
use std::net::IpAddr;

use futures::TryStreamExt;
use ipnet::IpNet;
use kcl_node_spec::Addresses;
use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::LinkAttribute;

use crate::error::{Doing, Result};

/// The loopback interface is the first of every network namespace.
const LOOPBACK: u32 = 1;

/// The label of the addresses that are added here. The kernel requires that it begins with the interface's name.
const LABEL: &str = "lo:kcl";

/// An interface on the node network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// The index of the interface.
    pub index: u32,
    /// The hardware address of the interface.
    pub mac: [u8; 6],
}

/// A handle to the node's links and addresses.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    handle: Handle,
}

impl Held {
    /// Opens the links of this network namespace. Must run within a Tokio runtime.
    pub(crate) fn connect() -> Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection().doing(|| "open a netlink socket".to_owned())?;
        tokio::spawn(connection);
        Ok(Held { handle })
    }

    /// Returns the addresses that this process or an earlier one added.
    pub(crate) async fn own(&self) -> Result<BTreeSet<IpAddr>> {
        let all = self.all().await?;
        let labelled =
            |message: &&AddressMessage| message.attributes.contains(&AddressAttribute::Label(LABEL.to_owned()));
        Ok(all.iter().filter(labelled).filter_map(address).collect())
    }

    /// Adds an address; succeeds if it already exists.
    pub(crate) async fn add(&self, address: IpAddr) -> Result<()> {
        let mut request = self.handle.address().add(LOOPBACK, address, IpNet::from(address).prefix_len()).replace();
        *request.message_mut() = message(address);
        request.execute().await.doing(|| format!("add the address {address}"))
    }

    /// Removes an address.
    pub(crate) async fn remove(&self, address: IpAddr) -> Result<()> {
        let removed = self.handle.address().del(message(address)).execute().await;
        removed.doing(|| format!("remove the address {address}"))
    }

    /// Returns the interfaces that have this address of the node.
    pub(crate) async fn interfaces(&self, node: Addresses) -> Result<Vec<Interface>> {
        let all = self.all().await?;
        let having = all
            .iter()
            .filter(|message| address(message).is_some_and(|own| node.overlaps(own.into())))
            .map(|message| message.header.index);
        let having: BTreeSet<u32> = having.filter(|index| *index != LOOPBACK).collect();
        let links: Vec<_> =
            self.handle.link().get().execute().try_collect().await.doing(|| "list the node's links".to_owned())?;
        let mac = |attributes: &[LinkAttribute]| {
            attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok(),
                _ => None,
            })
        };
        let near = links.iter().filter(|link| having.contains(&link.header.index));
        Ok(near.filter_map(|link| Some(Interface { index: link.header.index, mac: mac(&link.attributes)? })).collect())
    }

    async fn all(&self) -> Result<Vec<AddressMessage>> {
        let all = self.handle.address().get().execute();
        all.try_collect().await.doing(|| "list the node's addresses".to_owned())
    }
}

fn message(address: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.index = LOOPBACK;
    message.header.prefix_len = IpNet::from(address).prefix_len();
    message.header.scope = AddressScope::Universe;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
        AddressAttribute::Label(LABEL.to_owned()),
    ];
    message
}

fn address(message: &AddressMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    })
}
