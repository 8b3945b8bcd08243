//! The facts about a host. Gathered here, judged by the driver.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::Ipv4Net;
use kcl_driver_api::Result;
use kcl_driver_local::context::Context as _;
use kcl_driver_oci::facts::HostFacts;
use kcl_driver_oci::netlink::Netlink;

use crate::boot;
use crate::host::Host;
use crate::protocol::{Facts, Interface};

/// The state of a listening socket in `/proc/net/tcp`: `TCP_LISTEN`.
const LISTEN: &str = "0A";

/// Reads the facts about this host; `thorough` adds those that take a moment.
pub(crate) fn gather(at: &Host, thorough: bool) -> Result<Facts> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.with_context(|| "start a runtime")?;
    let unused = thorough && kcl_driver_local::storage::directories(&at.layout.clusters())?.is_empty();
    let (interfaces, default, networks) = runtime.block_on(network(unused))?;
    Ok(Facts {
        system: pretty_name(&read("/etc/os-release")),
        systemd: boot::systemd(),
        host: HostFacts::gather(&at.layout.home, thorough)?,
        clock: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
        interfaces,
        default,
        ports: if thorough { ports(at.footprint.ports) } else { Vec::new() },
        rivals: if thorough { rivals(at.footprint.rivals) } else { Vec::new() },
        networks,
        trees: at.trees.there()?,
    })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn pretty_name(os_release: &str) -> String {
    let line = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.unwrap_or("Linux").trim_matches('"').to_owned()
}

/// Reads the interfaces, that of the default route, and, if no machine is here yet, the networks.
async fn network(unused: bool) -> Result<(Vec<Interface>, Option<String>, Vec<(Ipv4Net, String)>)> {
    let netlink = Netlink::connect()?;
    let mut interfaces = Vec::new();
    for link in netlink.links().await? {
        for address in netlink.addresses(&link).await? {
            if !address.addr().is_loopback() {
                interfaces.push(Interface { name: link.name.clone(), address, mtu: link.mtu });
            }
        }
    }
    let mut networks = Vec::new();
    if unused {
        let own = |one: &Interface| (Ipv4Net::from(one.address.addr()), format!("interface {}", one.name));
        networks.extend(interfaces.iter().map(own));
        networks.extend(netlink.taken().await?.into_iter().map(|taken| (taken.net, taken.by)));
    }
    Ok((interfaces, netlink.default_link().await?.map(|link| link.name), networks))
}

/// Finds the programs that listen on these ports.
fn ports(needed: &[u16]) -> Vec<(u16, String)> {
    let mut taken: Vec<(u16, String)> = Vec::new();
    for line in (read("/proc/net/tcp") + &read("/proc/net/tcp6")).lines() {
        if let Some((port, inode)) = listening(line)
            && needed.contains(&port)
            && taken.iter().all(|(known, _)| *known != port)
        {
            taken.push((port, owner(&inode).unwrap_or_else(|| "another program".to_owned())));
        }
    }
    taken.sort();
    taken
}

/// Returns the port and the inode of a listening socket: proc_pid_net(5).
fn listening(line: &str) -> Option<(u16, String)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()?;
    (*fields.get(3)? == LISTEN).then(|| fields.get(9).map(|inode| (port, (*inode).to_owned())))?
}

/// Returns the name of a process that has a socket.
fn owner(inode: &str) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    processes()
        .find(|process| {
            let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
            descriptors
                .into_iter()
                .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()))
        })
        .map(|process| comm(&process))
}

/// Finds the processes with these names.
fn rivals(names: &[&str]) -> Vec<String> {
    let mut found: Vec<String> =
        processes().map(|process| comm(&process)).filter(|name| names.contains(&name.as_str())).collect();
    found.sort();
    found.dedup();
    found
}

fn processes() -> impl Iterator<Item = std::path::PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        .map(|entry| entry.path())
}

fn comm(process: &Path) -> String {
    fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_and_another() {
        let line =
            "   0: 0100007F:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 x";
        assert_eq!(listening(line), Some((6443, "4711".to_owned())));
        assert_eq!(listening(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(listening("  sl  local_address rem_address   st"), None);
    }

    #[test]
    fn the_name_of_a_system() {
        assert_eq!(
            pretty_name("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            "Debian GNU/Linux 12 (bookworm)"
        );
        assert_eq!(pretty_name(""), "Linux");
    }
}
