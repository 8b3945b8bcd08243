//! The route to pods of nodes on other segments: a VXLAN (RFC 7348) between the nodes' own addresses.
//!
//! Nothing is learned or flooded. Three facts about each peer are configured: its pods are behind a gateway, the first
//! address of its share, which is on the tunnel; the gateway's hardware address follows from the peer's own address;
//! and that hardware address is at the peer.

use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use kcl_node_spec::{NodeSpec, Peer};
use rtnetlink::packet_route::neighbour::NeighbourFlags;
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{Handle, LinkUnspec, LinkVxlan, RouteMessageBuilder};

use crate::error::{Doing, Result};

/// The name of the tunnel.
const LINK: &str = "kcl-vxlan";

/// The UDP port: IANA's for VXLAN; Linux's own default is older.
const PORT: u16 = 4789;

/// The overhead of a frame in the tunnel: Ethernet 14, IP 20, UDP 8, VXLAN 8 bytes.
const OVERHEAD: u32 = 50;

/// The largest packet of a pod, in bytes.
pub(super) fn pod_mtu(spec: &NodeSpec) -> u32 {
    spec.network.mtu - if needed(spec) { OVERHEAD } else { 0 }
}

fn needed(spec: &NodeSpec) -> bool {
    spec.network.peers.iter().any(|peer| peer.overlay)
}

/// Sets up the tunnel over the interface `index`, or removes it if no peer is behind it.
pub(super) async fn apply(spec: &NodeSpec, index: u32, handle: &Handle) -> Result<()> {
    let there = find(handle).await?;
    // The tunnel is recreated, which is quick, so that nothing of an earlier spec is left.
    if let Some(old) = there {
        handle.link().del(old).execute().await.doing(|| format!("remove the link {LINK}"))?;
    }
    if !needed(spec) {
        return Ok(());
    }
    let mtu = spec.network.mtu - OVERHEAD;
    let address = spec.address.require_v4()?;
    let link = LinkVxlan::new(LINK, spec.network.vni)
        .dev(index)
        .local(address)
        .port(PORT)
        .learning(false)
        // There is no checksum, as RFC 7348 recommends: one that is left to the network card is wrong once a host on
        // the path has changed the address (masquerading), and the packet is dropped.
        .udp_csum(false)
        .address(hardware(address).to_vec())
        .mtu(mtu)
        .up()
        .build();
    handle.link().add(link).execute().await.doing(|| format!("make the link {LINK}"))?;
    let Some(tunnel) = find(handle).await? else { return Ok(()) };
    let own = IpAddr::V4(spec.network.pod_cidr.require_v4()?.network());
    handle.address().add(tunnel, own, 32).execute().await.doing(|| format!("give {own} to {LINK}"))?;
    let up = LinkUnspec::new_with_index(tunnel).up().build();
    handle.link().set(up).execute().await.doing(|| format!("bring {LINK} up"))?;
    for peer in spec.network.peers.iter().filter(|peer| peer.overlay) {
        reach(handle, tunnel, peer).await?;
    }
    Ok(())
}

async fn find(handle: &Handle) -> Result<Option<u32>> {
    let mut links = handle.link().get().match_name(LINK.to_owned()).execute();
    // The kernel reports a missing link as an error.
    Ok(links.try_next().await.ok().flatten().map(|link| link.header.index))
}

async fn reach(handle: &Handle, tunnel: u32, peer: &Peer) -> Result<()> {
    let what = || format!("reach the pods of {} through {LINK}", peer.name);
    let (address, pods) = (peer.address.require_v4()?, peer.pod_cidr.require_v4()?);
    let gateway = pods.network();
    let mac = hardware(address);
    let neighbours = handle.neighbours();
    let at = neighbours.add_bridge(tunnel, &mac).destination(IpAddr::V4(address)).flags(NeighbourFlags::Own);
    at.replace().execute().await.doing(what)?;
    let neighbours = handle.neighbours();
    let neighbour = neighbours.add(tunnel, IpAddr::V4(gateway)).link_layer_address(&mac);
    neighbour.replace().execute().await.doing(what)?;
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(gateway, pods.prefix_len())
        .gateway(gateway)
        .output_interface(tunnel)
        .scope(RouteScope::Universe)
        .onlink()
        .build();
    handle.route().add(route).replace().execute().await.doing(what)
}

/// Returns the hardware address of a node on the tunnel: locally administered, the rest is the node's address.
fn hardware(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x6b, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::process::Command;
    use std::time::Duration;

    use nix::net::if_::if_nametoindex;
    use nix::sched::{CloneFlags, setns};

    use super::*;
    use crate::testing::spec;

    /// A network namespace with a link to another one.
    struct Place {
        name: String,
    }

    impl Place {
        fn make(name: &str) -> Place {
            let name = format!("kcl-overlay-{}-{name}", std::process::id());
            ip(&["netns", "add", &name]);
            Place { name }
        }

        /// Runs in the namespace, on a thread of its own.
        fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
            let namespace = std::fs::File::open(format!("/run/netns/{}", self.name)).unwrap();
            std::thread::scope(|scope| {
                let inside = scope.spawn(move || {
                    setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                    work()
                });
                inside.join().unwrap()
            })
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            ip(&["netns", "del", &self.name]);
        }
    }

    fn ip(arguments: &[&str]) {
        let output = Command::new("ip").args(arguments).output().unwrap();
        assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A node with one peer on another segment.
    fn node(address: Ipv4Addr, pods: &str, peer: Ipv4Addr, peers_pods: &str) -> NodeSpec {
        let mut spec = spec();
        spec.address = address.into();
        spec.network.pod_cidr = pods.parse().unwrap();
        let peer = Peer {
            address: peer.into(),
            pod_cidr: peers_pods.parse().unwrap(),
            overlay: true,
            ..spec.network.peers[0].clone()
        };
        spec.network.peers = vec![peer];
        spec
    }

    fn lay(spec: &NodeSpec) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().unwrap();
            tokio::spawn(connection);
            apply(spec, if_nametoindex("eth0").unwrap(), &handle).await.unwrap();
        });
    }

    #[test]
    fn nodes_on_two_segments_reach_each_others_pods() {
        if !nix::unistd::geteuid().is_root() {
            return eprintln!("skipped: only root makes network namespaces");
        }
        let (here, there) = (Place::make("a"), Place::make("b"));
        ip(&["-n", &here.name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", &there.name]);
        let (a, b) = (Ipv4Addr::new(10, 1, 0, 2), Ipv4Addr::new(10, 2, 0, 2));
        for (place, own, other) in [(&here, a, b), (&there, b, a)] {
            ip(&["-n", &place.name, "link", "set", "eth0", "up"]);
            ip(&["-n", &place.name, "address", "add", &format!("{own}/32"), "dev", "eth0"]);
            // This route replaces the routers between the segments.
            ip(&["-n", &place.name, "route", "add", &other.to_string(), "dev", "eth0", "src", &own.to_string()]);
        }
        let (pods, others) = ("10.244.1.0/24", "10.244.2.0/24");
        // A node that applies its spec a second time keeps its routes.
        for _ in 0..2 {
            here.within(|| lay(&node(a, pods, b, others)));
            there.within(|| lay(&node(b, others, a, pods)));
        }
        let server = there.within(|| UdpSocket::bind("10.244.2.0:0").unwrap());
        let client = here.within(|| UdpSocket::bind("10.244.1.0:0").unwrap());
        for (from, to) in [(&client, &server), (&server, &client)] {
            to.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            from.send_to(b"hello", to.local_addr().unwrap()).unwrap();
            let mut buffer = [0; 16];
            let (length, seen) = to.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], seen), (&b"hello"[..], from.local_addr().unwrap()));
        }
        // Without peers elsewhere there is no tunnel.
        let mut alone = node(a, pods, b, others);
        alone.network.peers.clear();
        here.within(|| lay(&alone));
        assert!(here.within(|| if_nametoindex(LINK).is_err()));
    }
}
