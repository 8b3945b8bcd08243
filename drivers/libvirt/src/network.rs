//! Manages the network of a cluster in the system's libvirt: a bridge with the host's address, from which machines
//! reach the world by address translation.
//!
//! Machines have fixed addresses, so libvirt hands out none and needs no dnsmasq. It starts the network by itself after
//! a restart of the host.

use ipnet::Ipv4Net;
use kcl_driver_api::{Error, ErrorKind, NetworkSpec, Result};
use kcl_driver_vm::ClusterNames;
use serde::Deserialize;
use virt::network::Network;

use crate::connection::{Connection, LibvirtContext as _};
use crate::metadata::NAMESPACE;
use crate::names;
use crate::xml::element;

/// The properties of a network that must match.
#[derive(Debug, Deserialize)]
struct Found {
    bridge: Option<Bridge>,
    #[serde(default)]
    ip: Vec<Ip>,
}

#[derive(Debug, Deserialize)]
struct Bridge {
    #[serde(rename = "@name")]
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Ip {
    #[serde(rename = "@address")]
    address: Option<String>,
    #[serde(rename = "@prefix")]
    prefix: Option<String>,
}

/// Makes or repairs the network, and returns its bridge.
pub(crate) fn ensure(connection: &Connection, names: &ClusterNames, spec: &NetworkSpec) -> Result<String> {
    let (name, bridge) = (names::network(names), names::bridge(names));
    let no_room = || Error::new(ErrorKind::SubnetTaken, format!("{} has no room for machines", spec.subnet));
    let subnet = spec.subnet.require_v4()?;
    let host = Ipv4Net::new_assert(subnet.hosts().next().ok_or_else(no_room)?, subnet.prefix_len());
    let network = match connection.network(&name)? {
        Some(network) if is_so(&network, &bridge, host)? => network,
        other => {
            if let Some(network) = other {
                remove(&network, &name)?;
            }
            Network::define_xml(connection, &render(names, host))
                .with_context(|| format!("define the network {name}"))?
        }
    };
    network.set_autostart(true).with_context(|| format!("make the network {name} start with the host"))?;
    if !network.is_active().with_context(|| format!("inspect the network {name}"))? {
        network.create().with_context(|| format!("start the network {name} ({host})"))?;
    }
    Ok(bridge)
}

/// Removes the network; succeeds if it does not exist.
pub(crate) fn delete(connection: &Connection, names: &ClusterNames) -> Result<()> {
    let name = names::network(names);
    match connection.network(&name)? {
        Some(network) => remove(&network, &name),
        None => Ok(()),
    }
}

fn remove(network: &Network, name: &str) -> Result<()> {
    network.destroy().unless_ended(|| format!("stop the network {name}"))?;
    network.undefine().with_context(|| format!("remove the network {name}"))
}

/// Returns the network's XML (libvirt's "Network XML format").
fn render(names: &ClusterNames, host: Ipv4Net) -> String {
    let of_cluster = element("kcl:network").with("xmlns:kcl", NAMESPACE).with("cluster", &names.name);
    let network = element("network").holding([
        element("name").text(names::network(names)),
        element("metadata").holding([of_cluster]),
        element("forward").with("mode", "nat"),
        element("bridge").with("name", names::bridge(names)).with("stp", "off").with("delay", 0),
        element("dns").with("enable", "no"),
        element("ip").with("address", host.addr()).with("prefix", host.prefix_len()),
    ]);
    network.render()
}

fn is_so(network: &Network, bridge: &str, host: Ipv4Net) -> Result<bool> {
    let text = network.get_xml_desc(0).with_context(|| "describe a network".to_owned())?;
    Ok(matches(&text, bridge, host))
}

fn matches(text: &str, bridge: &str, host: Ipv4Net) -> bool {
    let Ok(found) = quick_xml::de::from_str::<Found>(text) else { return false };
    let same_bridge = found.bridge.and_then(|found| found.name).as_deref() == Some(bridge);
    let (address, prefix) = (host.addr().to_string(), host.prefix_len().to_string());
    let [ip] = found.ip.as_slice() else { return false };
    same_bridge && ip.address.as_ref() == Some(&address) && ip.prefix.as_ref() == Some(&prefix)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kcl_driver_vm::Layout;

    use super::*;

    #[test]
    fn a_network_is_recognized_by_its_bridge_and_address() {
        let names = Layout::new(Path::new("/nonexistent"), Path::new("/run/kcl"), crate::KIND).cluster("a").unwrap();
        let host: Ipv4Net = "10.89.0.1/24".parse().unwrap();
        let (text, bridge) = (render(&names, host), names::bridge(&names));
        assert!(bridge.len() <= 15);
        assert!(matches(&text, &bridge, host), "{text}");
        assert!(!matches(&text, "br0", host));
        assert!(!matches(&text, &bridge, "10.89.0.1/16".parse().unwrap()));
    }
}
