//! A cluster's network: a bridge with the host's address on it, forwarding and masquerading.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use kcl_driver_api::{
    Error, ErrorKind, Link, MachineSpec, Network, NetworkSpec, Protocol, PublishedPort, Result, Subnets,
};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::parameters::PARAMETERS;
use kcl_driver_local::storage;
use kcl_driver_local::storage::directories;
use kcl_driver_local::task::blocking;
use kcl_driver_oci::cgroup;
use kcl_driver_oci::layout::{ClusterNames, Layout};
use kcl_driver_oci::netlink::{Netlink, Taken};

use crate::context::Context;
use crate::firewall::{self, Published, Rules};
use crate::parameters;
use crate::subnet;

/// The MTU if the host has no default route: Ethernet's.
const DEFAULT_MTU: u32 = 1500;

/// The prefix of the names of kcl's bridges, whatever the `$KCL_HOME`.
const BRIDGE_PREFIX: &str = "kcl-";

/// The name of the machine's interface on the cluster's network.
pub(crate) const INTERFACE: &str = "eth0";

/// The directory of the host's links.
const LINKS: &str = "/sys/class/net";

const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Proposes a free network, or the one that the cluster has already.
pub(crate) async fn propose(context: &Arc<Context>, cluster: &str) -> Result<Subnets> {
    let names = context.layout.cluster(cluster)?;
    let file = names.network_file();
    if let Some(spec) = blocking(move || storage::read::<NetworkSpec>(&file)).await? {
        return Ok(spec.subnet);
    }
    let networks = in_use(context, cluster).await?;
    subnet::propose(&networks, &names.bridge).map(Subnets::from).ok_or_else(kcl_driver_local::subnet::none_free)
}

/// Lists everything that a network for `cluster` could collide with, except its own bridge: the networks of the kernel,
/// and those of other clusters of this home, which may not run.
pub(crate) async fn in_use(context: &Arc<Context>, cluster: &str) -> Result<Vec<Taken>> {
    let mut networks = Netlink::connect()?.taken().await?;
    let (context, cluster) = (context.clone(), cluster.to_owned());
    let look = move || Ok((own_ends(&context.layout, &cluster)?, held_by_others(&context.layout, &cluster)?));
    let (own, held) = blocking(look).await?;
    networks.retain(|net| !net.link.as_ref().is_some_and(|link| own.contains(link)));
    networks.extend(held);
    Ok(networks)
}

/// Lists the links of the cluster's machines. One end of each has its address on the host until runc moves it, and
/// stays there if kcl was killed in between: it does not collide with its own cluster.
fn own_ends(layout: &Layout, cluster: &str) -> Result<Vec<String>> {
    let machines = directories(&layout.cluster(cluster)?.nodes())?;
    Ok(machines.iter().filter_map(|name| layout.machine(cluster, name).ok()).map(|names| names.peer).collect())
}

fn held_by_others(layout: &Layout, cluster: &str) -> Result<Vec<Taken>> {
    let mut held = Vec::new();
    for other in directories(&layout.clusters())?.into_iter().filter(|other| other != cluster) {
        let Ok(names) = layout.cluster(&other) else { continue };
        let by = format!("cluster {other}");
        if let Some(net) = storage::read::<NetworkSpec>(&names.network_file())?.and_then(|spec| spec.subnet.v4()) {
            held.push(Taken { net, by: by.clone(), link: Some(names.bridge.clone()) });
        }
        for name in directories(&names.nodes())? {
            let Ok(machine) = layout.machine(&other, &name) else { continue };
            // A broken machine holds no address.
            let spec = storage::read::<MachineSpec>(&machine.spec_file()).ok().flatten();
            if let Some(address) = spec.and_then(|spec| spec.address.v4()) {
                held.push(Taken { net: address.into(), by: by.clone(), link: Some(names.bridge.clone()) });
            }
        }
    }
    Ok(held)
}

/// Makes the network, or repairs it after a reboot or a change by other programs.
pub(crate) async fn ensure(context: &Arc<Context>, spec: &NetworkSpec) -> Result<Network> {
    let names = context.layout.cluster(&spec.cluster)?;
    let subnet = spec.subnet.require_v4()?.trunc();
    let address = subnet::gateway(subnet)
        .ok_or_else(|| Error::new(ErrorKind::SubnetTaken, format!("{subnet} has no room for machines")))?;
    let lock = lock(context).await?;
    let networks = in_use(context, &spec.cluster).await?;
    if let Some(other) = subnet::collisions(subnet, &networks, &names.bridge).next() {
        return Err(Error::new(
            ErrorKind::SubnetTaken,
            format!("the subnet {subnet} collides with {} ({})", other.by, other.net),
        )
        .hint("name another with --subnet"));
    }
    let netlink = Netlink::connect()?;
    let mtu = netlink.default_link().await?.map_or(DEFAULT_MTU, |link| link.mtu);
    let bridge = netlink.ensure_bridge(&names.bridge, names.mac(), address, mtu).await?;
    for old in netlink.addresses(&bridge).await?.into_iter().filter(|old| *old != address) {
        // Left by a cluster of this name whose network was another.
        netlink.remove_address(&bridge, old).await?;
    }
    let bridge_name = names.bridge.clone();
    let document = NetworkSpec { bridge: None, subnet: subnet.into(), ..spec.clone() };
    let context = context.clone();
    blocking(move || {
        let _lock = lock;
        forward(&context.layout.run)?;
        parameters::record(&context.layout.run, Path::new(PARAMETERS))?;
        filter(&context, &names, &document)?;
        storage::make_private_directory(&names.runc_root())?;
        storage::make_private_directory(&names.dir)?;
        if storage::read(&names.network_file()).ok().flatten().as_ref() != Some(&document) {
            storage::write(&names.network_file(), &document)?;
        }
        Ok(())
    })
    .await?;
    let (subnet, gateway) = (subnet.into(), address.addr().into());
    let link =
        Link { interface: "eth0".to_owned(), subnet, gateway: Some(gateway), mtu, host: None, masquerades: false };
    Ok(Network { subnet, host: Some(gateway), bridge: Some(bridge_name), link, links: BTreeMap::new() })
}

/// Fails if another program listens on one of the ports, which would be taken from it silently.
pub(crate) fn free(ports: &[PublishedPort]) -> Result<()> {
    for port in ports {
        let address = (port.address, port.port);
        let bound = match port.protocol {
            Protocol::Tcp => TcpListener::bind(address).map(drop),
            Protocol::Udp => UdpSocket::bind(address).map(drop),
        };
        bound.map_err(|error| {
            Error::new(ErrorKind::PortTaken, format!("the port {port} cannot be published on this host: {error}"))
                .hint("choose another with --ports, or end who uses it")
        })?;
    }
    Ok(())
}

/// Forwards the published ports of a machine that was just made.
pub(crate) async fn publish(context: &Arc<Context>, cluster: &str) -> Result<()> {
    let names = context.layout.cluster(cluster)?;
    let lock = lock(context).await?;
    let context = context.clone();
    blocking(move || {
        let _lock = lock;
        let Some(spec) = storage::read::<NetworkSpec>(&names.network_file())? else { return Ok(()) };
        filter(&context, &names, &spec)
    })
    .await
}

/// Applies the packet filter rules of a network.
fn filter(context: &Context, names: &ClusterNames, spec: &NetworkSpec) -> Result<()> {
    let rules = Rules {
        subnet: spec.subnet.require_v4()?,
        ports: &published(context, &spec.cluster)?,
        peers: &spec.peers,
        forwards_for_kcl: mark(&context.layout.run).exists(),
    };
    firewall::ensure(names, &rules, context.rootfs.as_deref())
}

/// Lists the ports that the cluster's machines publish.
fn published(context: &Context, cluster: &str) -> Result<Vec<Published>> {
    let mut all = Vec::new();
    for name in directories(&context.layout.cluster(cluster)?.nodes())? {
        // A broken machine has none.
        let Ok(machine) = context.layout.machine(cluster, &name) else { continue };
        let Ok(Some(spec)) = storage::read::<MachineSpec>(&machine.spec_file()) else { continue };
        let machine = spec.address.require_v4()?;
        all.extend(spec.ports.iter().map(|port| Published { machine, port: *port }));
    }
    Ok(all)
}

/// Removes the network, and the settings of the host that no machine needs any more.
pub(crate) async fn delete(context: &Arc<Context>, cluster: &str) -> Result<()> {
    let names = context.layout.cluster(cluster)?;
    let lock = lock(context).await?;
    let netlink = Netlink::connect()?;
    netlink.delete(&names.bridge).await?;
    let last = !netlink.links().await?.iter().any(|link| link.name.starts_with(BRIDGE_PREFIX));
    let context = context.clone();
    blocking(move || {
        let _lock = lock;
        firewall::remove(&names)?;
        if last {
            restore_forwarding(&context.layout.run)?;
            parameters::restore(&context.layout.run, Path::new(PARAMETERS))?;
        }
        cgroup::remove_cluster(&names)?;
        storage::remove_tree(&names.run)?;
        storage::remove_file(&names.network_file())?;
        storage::remove_if_empty(&names.nodes())?;
        if context.layout.home.is_dir() {
            kcl_driver_oci::try_out::sweep(&context.layout.home).with_context(|| "remove what a probe left")?;
        }
        storage::remove_if_empty(&names.dir)
    })
    .await
}

/// Locks the settings that all clusters of the host share.
async fn lock(context: &Arc<Context>) -> Result<File> {
    let run = context.layout.run.clone();
    blocking(move || {
        storage::make_private_directory(&run)?;
        let path = run.join("lock");
        let file = File::options().create(true).write(true).truncate(false).open(&path);
        let file = file.with_context(|| format!("open {}", path.display()))?;
        file.lock().with_context(|| format!("lock {}", path.display()))?;
        Ok(file)
    })
    .await
}

/// Lets the host forward packets, and records that it did not before, and the bridges that there were.
fn forward(run: &Path) -> Result<()> {
    let now = fs::read_to_string(IP_FORWARD).with_context(|| format!("read {IP_FORWARD}"))?;
    if now.trim() == "0" {
        let mark = mark(run);
        let record = std::iter::once(now.trim().to_owned()).chain(bridges()).collect::<Vec<_>>().join("\n");
        fs::write(&mark, record).with_context(|| format!("write {}", mark.display()))?;
        fs::write(IP_FORWARD, "1").with_context(|| "set net.ipv4.ip_forward to 1")?;
    }
    Ok(())
}

/// Sets forwarding back to what it was, unless networks of others have come to need it.
fn restore_forwarding(run: &Path) -> Result<()> {
    if let Ok(record) = fs::read_to_string(mark(run))
        && let Some(before) = restored(&record, &bridges())
    {
        fs::write(IP_FORWARD, before).with_context(|| format!("set net.ipv4.ip_forward to {before}"))?;
    }
    storage::remove_file(&mark(run))
}

/// Returns the value to set forwarding back to; none if there is a bridge that is not in the record. Networks of containers
/// and virtual machines are bridges, and their programs leave forwarding as it is where they find it switched on.
fn restored<'a>(record: &'a str, bridges: &[String]) -> Option<&'a str> {
    let mut lines = record.lines();
    let before = lines.next()?;
    let known: Vec<&str> = lines.collect();
    bridges.iter().all(|bridge| known.contains(&bridge.as_str())).then_some(before)
}

/// Lists the bridges of the host that are not kcl's.
fn bridges() -> Vec<String> {
    let links = fs::read_dir(LINKS).into_iter().flatten().flatten();
    let bridges = links.filter(|link| link.path().join("bridge").is_dir());
    let names = bridges.filter_map(|link| link.file_name().into_string().ok());
    names.filter(|name| !name.starts_with(BRIDGE_PREFIX)).collect()
}

/// Returns the path of that record, on the tmpfs so that it ends with the setting.
fn mark(run: &Path) -> std::path::PathBuf {
    run.join("ip_forward")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarding_is_set_back_unless_a_network_of_others_came() {
        let there = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(restored("0\n", &[]), Some("0"), "an older kcl's record");
        assert_eq!(restored("0\nvirbr0", &there(&["virbr0"])), Some("0"));
        assert_eq!(restored("0\nvirbr0", &there(&[])), Some("0"));
        assert_eq!(restored("0\nvirbr0", &there(&["virbr0", "docker0"])), None);
        assert_eq!(restored("0", &there(&["docker0"])), None);
    }
}
