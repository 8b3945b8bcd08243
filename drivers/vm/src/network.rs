//! A cluster's network: a segment that its machines share, and each one's own connection to the host. Or a bridge of
//! the host.
//!
//! The segment is QEMU's multicast socket on loopback, whose members may come and go. Each machine has a second
//! interface, to QEMU's user-mode network, in which QEMU is the subnet's first address: the host to the machine, and
//! its router. Both interfaces have the machine's one address, so its ports are reached either way.
//!
//! On a bridge, a machine has the second interface for its published ports only, and QEMU is the subnet's last address.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use kcl_driver_api::{Error, ErrorKind, Link, MachineSpec, Network, NetworkSpec, Protocol, Reach, Result, Subnets};
use kcl_driver_local::storage::{self, directories};
use kcl_driver_local::{link, subnet};
use kcl_node_spec::guest::{GuestInterface, GuestRoute};

use crate::guest::Interfaces;
use crate::layout::{ClusterNames, Layout, MachineNames};

/// The largest packet, in bytes: Ethernet's.
const MTU: u32 = 1500;

/// The network of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The addresses of the network.
    pub subnet: Ipv4Net,
    /// The host's address, as machines see it.
    pub host: Ipv4Addr,
    /// The bridge of the host that the network is, if it is one.
    pub bridge: Option<String>,
    /// QEMU's address in its user-mode network.
    user: Ipv4Addr,
    group: Ipv4Addr,
    port: u16,
}

impl Segment {
    /// Returns the segment of a cluster: its group and port follow from the cluster's hash (the range is RFC 2365's for
    /// sites).
    ///
    /// # Errors
    /// `SubnetTaken` for a subnet without room for machines.
    pub fn new(names: &ClusterNames, spec: &NetworkSpec) -> Result<Segment> {
        let (subnet, bridge) = (spec.subnet.require_v4()?.trunc(), spec.bridge.clone());
        let no_room = || Error::new(ErrorKind::SubnetTaken, format!("{subnet} has no room for machines"));
        let host = subnet.hosts().next().filter(|_| subnet.prefix_len() <= 30).ok_or_else(no_room)?;
        let last = Ipv4Addr::from(u32::from(subnet.broadcast()) - 1);
        let user = if bridge.is_some() { last } else { host };
        let hash = u32::from_str_radix(&names.hash, 16).unwrap_or_default();
        let [a, b, c, d] = hash.to_be_bytes();
        let group = Ipv4Addr::new(239, 192 | (a & 3), b, c);
        Ok(Segment { subnet, host, bridge, user, group, port: 20_000 + u16::from(d) * 64 + u16::from(a >> 2) })
    }

    /// Returns QEMU's option for the interface. A tap is QEMU's own and goes with it.
    pub fn netdev(&self, id: &str, names: &MachineNames) -> String {
        if self.bridge.is_some() {
            return format!("tap,id={id},ifname={},script=no,downscript=no", tap(names));
        }
        format!("socket,id={id},mcast={}:{},localaddr=127.0.0.1", self.group, self.port)
    }

    /// Returns the interfaces and routes of the guest.
    ///
    /// # Errors
    /// `Conflict` if the machine's address is not on the network.
    pub fn interfaces(&self, spec: &MachineSpec) -> Result<Interfaces> {
        let (address, subnet) = (spec.address.require_v4()?, self.subnet);
        if !subnet.contains(&address) || address == self.user {
            let message = format!(
                "the address {address} of machine {} is not available to machines on the network of cluster {} ({subnet})",
                spec.name, spec.cluster
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let mtu = self.mtu()?;
        let interface = |name: &str, prefix| GuestInterface {
            name: name.to_owned(),
            address: Ipv4Net::new_assert(address, prefix).into(),
            mtu,
        };
        let (first, second) = (interface("eth0", subnet.prefix_len()), "eth1".to_owned());
        if !self.has_user(spec) {
            // The node agent sets the default route.
            return Ok(Interfaces { interfaces: vec![first], routes: Vec::new() });
        }
        let mut routes = vec![GuestRoute { to: IpAddr::V4(self.user).into(), via: None, interface: second.clone() }];
        if self.bridge.is_none() {
            routes.push(GuestRoute {
                to: Ipv4Net::default().into(),
                via: Some(self.user.into()),
                interface: second.clone(),
            });
        }
        Ok(Interfaces { interfaces: vec![first, interface(&second, 32)], routes })
    }

    /// Returns true if the machine has an interface to QEMU's user-mode network.
    pub fn has_user(&self, spec: &MachineSpec) -> bool {
        self.bridge.is_none() || !spec.ports.is_empty()
    }

    /// Returns QEMU's option for a machine's user-mode network, which has the cluster's subnet and publishes ports.
    ///
    /// # Errors
    /// `State` for a port that QEMU cannot publish.
    pub fn user_netdev(&self, id: &str, spec: &MachineSpec) -> Result<String> {
        let (subnet, address) = (self.subnet, spec.address.require_v4()?);
        // QEMU requires addresses for services that nobody uses.
        let dns = subnet.broadcast();
        let mut text = format!("user,id={id},ipv6=off,net={subnet},host={},dns={dns},dhcpstart={address}", self.user);
        for port in &spec.ports {
            let protocol = match port.protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
            };
            let bind: Ipv4Addr = match port.address {
                IpAddr::V4(bind) => bind,
                IpAddr::V6(bind) => {
                    let message = format!("QEMU publishes ports on IPv4 addresses only, not on {bind}");
                    return Err(Error::new(ErrorKind::State, message));
                }
            };
            text.push_str(&format!(",hostfwd={protocol}:{bind}:{}-{address}:{}", port.port, port.machine_port));
        }
        Ok(text)
    }

    /// Returns the largest packet, in bytes.
    ///
    /// # Errors
    /// `State` if the bridge does not exist.
    pub fn mtu(&self) -> Result<u32> {
        let Some(bridge) = &self.bridge else { return Ok(MTU) };
        link::mtu(bridge).ok_or_else(|| {
            Error::new(ErrorKind::State, format!("the bridge {bridge} of the cluster's network is missing"))
                .hint("repair the network with: kcl start")
        })
    }
}

/// Returns the name of the host's end of a machine's interface on a bridge.
pub fn tap(names: &MachineNames) -> String {
    format!("kq{}", names.hash)
}

/// Proposes a free network, or the one that the cluster has already.
///
/// # Errors
/// `SubnetTaken` if no network is free.
pub fn propose(layout: &Layout, cluster: &str) -> Result<Subnets> {
    if let Some(spec) = storage::read::<NetworkSpec>(&layout.cluster(cluster)?.network_file())? {
        return Ok(spec.subnet);
    }
    let networks = in_use(layout, cluster)?;
    subnet::propose(networks.into_iter()).map(Subnets::from).ok_or_else(subnet::none_free)
}

/// Lists networks that machines may want to reach, or other clusters have: the host's addresses and routes, and the
/// networks of the clusters of this home.
fn in_use(layout: &Layout, cluster: &str) -> Result<Vec<Ipv4Net>> {
    // The routes of this thread's network, as the interfaces below are: `/proc/net` is that of the process's first
    // thread.
    let table = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let mut networks: Vec<Ipv4Net> = subnet::routes(&table).map(|(_, net)| net).collect();
    for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let address = interface.address.as_ref().and_then(|address| address.as_sockaddr_in().map(|v4| v4.ip()));
        let mask = interface.netmask.as_ref().and_then(|mask| mask.as_sockaddr_in().map(|v4| v4.ip()));
        networks.extend(address.zip(mask).and_then(|(address, mask)| Ipv4Net::with_netmask(address, mask).ok()));
    }
    for other in directories(&layout.clusters())?.into_iter().filter(|other| other != cluster) {
        let Ok(names) = layout.cluster(&other) else { continue };
        // The records of this driver and of others.
        let files = fs::read_dir(&names.dir).into_iter().flatten().flatten().map(|entry| entry.path());
        for file in files.filter(|path| path.to_string_lossy().ends_with("network.json")) {
            networks.extend(storage::read::<NetworkSpec>(&file).unwrap_or_default().and_then(|spec| spec.subnet.v4()));
        }
    }
    Ok(networks)
}

/// Tells how the host reaches the machines of a cluster: by their addresses if they are on a bridge, else by published
/// ports.
///
/// # Errors
/// `State` if the cluster's record of its network cannot be read.
pub fn reach(layout: &Layout, cluster: &str) -> Result<Reach> {
    let spec = storage::read::<NetworkSpec>(&layout.cluster(cluster)?.network_file())?;
    let loopback = Ipv4Addr::LOCALHOST.into();
    Ok(match spec.and_then(|spec| spec.bridge) {
        Some(_) => Reach::Address,
        None => Reach::Published { bind: loopback, at: loopback },
    })
}

/// Reads the network that was requested last.
///
/// # Errors
/// `State` if the cluster has no network yet.
pub fn segment(names: &ClusterNames) -> Result<Segment> {
    let spec = storage::read::<NetworkSpec>(&names.network_file())?
        .ok_or_else(|| Error::new(ErrorKind::State, format!("cluster {} has no network yet", names.name)))?;
    Segment::new(names, &spec)
}

/// Records the network. Each machine brings its own part of it.
///
/// # Errors
/// `SubnetTaken` for a subnet without room for machines, `State` for a bridge that does not exist.
pub fn ensure(layout: &Layout, spec: &NetworkSpec) -> Result<Network> {
    let names = layout.cluster(&spec.cluster)?;
    let segment = Segment::new(&names, spec)?;
    let document = NetworkSpec { subnet: spec.subnet.trunc(), ..spec.clone() };
    storage::make_private_directory(&names.dir)?;
    if storage::read(&names.network_file()).ok().flatten().as_ref() != Some(&document) {
        storage::write(&names.network_file(), &document)?;
    }
    // Without a bridge, the initrd sets the default route.
    let gateway = segment.bridge.as_ref().map(|_| segment.host.into());
    let link = Link {
        interface: "eth0".to_owned(),
        subnet: document.subnet,
        gateway,
        mtu: segment.mtu()?,
        host: None,
        masquerades: false,
    };
    Ok(Network {
        subnet: document.subnet,
        host: Some(segment.host.into()),
        bridge: segment.bridge,
        link,
        links: Default::default(),
    })
}

/// Forgets the network, and removes everything that no machine needs any more.
///
/// # Errors
/// `Host` if something cannot be removed.
pub fn delete(layout: &Layout, cluster: &str) -> Result<()> {
    let names = layout.cluster(cluster)?;
    storage::remove_file(&names.network_file())?;
    storage::remove_if_empty(&names.run)?;
    storage::remove_if_empty(&names.machines())?;
    storage::remove_if_empty(&names.dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_on_a_bridge_are_reached_by_address_whoever_asks() {
        let home = tempfile::tempdir().unwrap();
        // A layout for each call, as every verb has a driver of its own.
        let layout = || Layout::new(home.path(), std::path::Path::new("/run/kcl"), "vm");
        let mut spec = NetworkSpec::new("a", "10.89.0.0/24".parse().unwrap());
        assert!(matches!(reach(&layout(), "a").unwrap(), Reach::Published { .. }));
        ensure(&layout(), &spec).unwrap();
        assert!(matches!(reach(&layout(), "a").unwrap(), Reach::Published { .. }));
        spec.bridge = Some("lo".into());
        ensure(&layout(), &spec).unwrap();
        assert_eq!(reach(&layout(), "a").unwrap(), Reach::Address);
        assert!(matches!(reach(&layout(), "b").unwrap(), Reach::Published { .. }));
    }

    #[test]
    fn clusters_have_segments_of_their_own() {
        let layout = Layout::new(std::path::Path::new("/nonexistent"), std::path::Path::new("/run/kcl"), "vm");
        let new = |cluster: &str, net: &str| {
            Segment::new(&layout.cluster(cluster).unwrap(), &NetworkSpec::new(cluster, net.parse().unwrap()))
        };
        let [a, b] = ["a", "b"].map(|name| new(name, "10.89.0.0/24").unwrap());
        let names = layout.machine("a", "a").unwrap();
        assert_ne!(a.netdev("x", &names), b.netdev("x", &names));
        assert!(a.group.is_multicast() && a.port >= 20_000);
        assert!(tap(&names).len() <= 15, "as the kernel wants it");
        let tiny = new("a", "10.0.0.0/31");
        assert_eq!(tiny.unwrap_err().kind, ErrorKind::SubnetTaken);
    }
}
