//! Packet filter rules of a cluster's network: masquerading, a border, and acceptance by rules of other programs.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use ipnet::Ipv4Net;
use kcl_driver_api::{Addresses, PublishedPort, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::process::tie;
use kcl_driver_oci::layout::ClusterNames;
use kcl_driver_oci::nft::{check, delete_table, nft};

/// The rules of a cluster.
pub(crate) struct Rules<'a> {
    /// The network of the cluster.
    pub subnet: Ipv4Net,
    /// The ports of machines that are reached on this host.
    pub ports: &'a [Published],
    /// The addresses of machines elsewhere.
    pub peers: &'a [Addresses],
    /// The host forwards packets for kcl alone.
    pub forwards_for_kcl: bool,
}

/// Masquerades packets that leave the cluster's network, and forwards published ports to their machines, by a table of
/// kcl's own that is replaced as a whole. Packets on the bridge are left alone, even if br_netfilter shows them to this
/// chain.
///
/// Beyond the host nobody begins a connection into the network but by a published port: kubelets, etcd and pods are there.
/// The network reaches no service that listens on the host's loopback (CVE-2020-8558).
fn table(names: &ClusterNames, rules: &Rules<'_>) -> String {
    let (table, bridge) = (&names.table, &names.bridge);
    let Rules { subnet, ports, .. } = rules;
    let peers: Vec<String> = rules.peers.iter().filter_map(|peer| peer.v4()).map(|peer| peer.to_string()).collect();
    let peers = match peers.is_empty() {
        true => String::new(),
        false => format!("\t\tip saddr {{ {} }} oifname \"{bridge}\" accept\n", peers.join(", ")),
    };
    // Bridges are networks of containers and virtual machines, which may have come to rely on the switch since.
    let router = match rules.forwards_for_kcl {
        true => "\t\tmeta iifkind != \"bridge\" meta oifkind != \"bridge\" ct state new drop\n",
        false => "",
    };
    let led: String = ports.iter().map(Published::rule).collect();
    let published = match ports {
        [] => String::new(),
        // Packets of this host itself pass `output`; the answers return because of the masquerading.
        _ => format!(
            "\tchain prerouting {{\n\t\ttype nat hook prerouting priority -100; policy accept;\n{led}\t}}\n\
             \tchain output {{\n\t\ttype nat hook output priority -100; policy accept;\n{led}\t}}\n\
             \tchain local {{\n\t\ttype nat hook postrouting priority 99; policy accept;\n\
             \t\tip saddr 127.0.0.0/8 oifname \"{bridge}\" masquerade\n\t}}\n"
        ),
    };
    format!(
        "table ip {table}\n\
         delete table ip {table}\n\
         table ip {table} {{\n\
         \tchain postrouting {{\n\
         \t\ttype nat hook postrouting priority 100; policy accept;\n\
         \t\tip saddr {subnet} ip daddr != {subnet} oifname != \"{bridge}\" masquerade\n\
         \t}}\n\
         \tchain forward {{\n\
         \t\ttype filter hook forward priority -10; policy accept;\n\
         {peers}\
         \t\tiifname != \"{bridge}\" oifname \"{bridge}\" ct state new ct status & dnat == 0 drop\n\
         {router}\
         \t}}\n\
         \tchain loopback {{\n\
         \t\ttype filter hook prerouting priority -310; policy accept;\n\
         \t\tiifname \"{bridge}\" ip daddr 127.0.0.0/8 drop\n\
         \t}}\n\
         {published}\
         }}\n"
    )
}

/// A port of a machine that is reached on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// The machine's address.
    pub machine: Ipv4Addr,
    /// The ports of the host and the machine.
    pub port: PublishedPort,
}

impl Published {
    fn rule(&self) -> String {
        let PublishedPort { address, port, machine_port, protocol } = self.port;
        let to =
            if address.is_unspecified() { "fib daddr type local".to_owned() } else { format!("ip daddr {address}") };
        format!("\t\t{to} {} dport {port} dnat to {}:{machine_port}\n", protocol.name(), self.machine)
    }
}

/// Applies the rules.
pub(crate) fn ensure(names: &ClusterNames, rules: &Rules<'_>, rootfs: Option<&Path>) -> Result<()> {
    nft(rootfs, &table(names, rules))?;
    if !rules.ports.is_empty() {
        // Otherwise the kernel refuses to send from 127.0.0.1 over the bridge, before the address is changed
        // (ip-sysctl.rst).
        let path = format!("/proc/sys/net/ipv4/conf/{}/route_localnet", names.bridge);
        std::fs::write(&path, "1").with_context(|| format!("write {path}"))?;
    }
    let Some(iptables) = iptables() else { return Ok(()) };
    if !drops_forwarded(&iptables)? {
        return Ok(());
    }
    for rule in accept_rules(names) {
        if !run(Command::new(&iptables).args(["-w", "-C"]).args(&rule))?.status.success() {
            let done = run(Command::new(&iptables).args(["-w", "-I"]).args(&rule))?;
            check(&done, "let packets of the cluster through the host's iptables rules")?;
        }
    }
    Ok(())
}

/// Removes the rules; succeeds if there are none.
pub(crate) fn remove(names: &ClusterNames) -> Result<()> {
    delete_table(&names.table)?;
    let Some(iptables) = iptables() else { return Ok(()) };
    for rule in accept_rules(names) {
        while run(Command::new(&iptables).args(["-w", "-D"]).args(&rule))?.status.success() {}
    }
    Ok(())
}

/// Returns the rules for iptables's filter table, as words: chain first.
fn accept_rules(names: &ClusterNames) -> [Vec<String>; 2] {
    ["-i", "-o"].map(|way| {
        ["FORWARD", way, &names.bridge, "-m", "comment", "--comment", &names.bridge, "-j", "ACCEPT"]
            .map(String::from)
            .to_vec()
    })
}

/// Accepts the cluster's packets where Docker is: it sets the policy of the forward chain to DROP for all packets.
fn drops_forwarded(iptables: &Path) -> Result<bool> {
    let rules = run(Command::new(iptables).args(["-w", "-S", "FORWARD"]))?;
    check(&rules, "read the host's iptables rules")?;
    Ok(String::from_utf8_lossy(&rules.stdout).lines().any(|line| line == "-P FORWARD DROP"))
}

/// Finds the host's own iptables: only a host that has it can have rules of it.
fn iptables() -> Option<std::path::PathBuf> {
    ["/usr/sbin/iptables", "/sbin/iptables", "/usr/bin/iptables", "/usr/local/sbin/iptables"]
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
        .map(Path::to_owned)
}

fn run(command: &mut Command) -> Result<Output> {
    tie(command);
    let output = command.stdin(Stdio::null()).output();
    output.with_context(|| format!("run {}", command.get_program().to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use kcl_driver_api::Protocol;

    use super::*;
    use kcl_driver_oci::layout::Layout;

    fn rules(ports: &[Published]) -> Rules<'_> {
        Rules { subnet: "10.89.0.0/24".parse().unwrap(), ports, peers: &[], forwards_for_kcl: false }
    }

    #[test]
    fn the_network_is_closed_to_others_and_so_is_the_hosts_loopback_to_it() {
        let names = Layout::new(Path::new("/nonexistent/home"), Path::new("/run/kcl")).cluster("kcl").unwrap();
        let script = table(&names, &rules(&[]));
        let bridge = &names.bridge;
        assert!(script.contains(&format!("iifname \"{bridge}\" ip daddr 127.0.0.0/8 drop")), "{script}");
        let border = format!("iifname != \"{bridge}\" oifname \"{bridge}\" ct state new ct status & dnat == 0 drop");
        assert!(script.contains(&border) && !script.contains("iifkind") && !script.contains("accept\n"), "{script}");
        let peers = [Addresses::from([192, 0, 2, 7])];
        let script = table(&names, &Rules { peers: &peers, forwards_for_kcl: true, ..rules(&[]) });
        let (peer, drop) = (script.find("ip saddr { 192.0.2.7 }").unwrap(), script.find(&border).unwrap());
        assert!(peer < drop && script.contains("iifkind != \"bridge\" meta oifkind != \"bridge\" ct state new drop"));
    }

    #[test]
    fn a_table_of_our_own_replaced_as_a_whole() {
        let names = Layout::new(Path::new("/nonexistent/home"), Path::new("/run/kcl")).cluster("kcl").unwrap();
        let script = table(&names, &rules(&[]));
        let name = format!("kcl_{}", names.hash);
        let lines: Vec<&str> = script.lines().map(str::trim).collect();
        assert_eq!(
            lines[..3],
            [format!("table ip {name}"), format!("delete table ip {name}"), format!("table ip {name} {{")]
        );
        assert!(
            lines.contains(
                &format!("ip saddr 10.89.0.0/24 ip daddr != 10.89.0.0/24 oifname != \"{}\" masquerade", names.bridge)
                    .as_str()
            )
        );
    }

    #[test]
    fn published_ports_lead_to_their_machine() {
        let names = Layout::new(Path::new("/nonexistent/home"), Path::new("/run/kcl")).cluster("kcl").unwrap();
        let published = |address: &str, protocol| Published {
            machine: Ipv4Addr::new(10, 89, 0, 2),
            port: PublishedPort { address: address.parse().unwrap(), port: 8080, machine_port: 80, protocol },
        };
        let ports = [published("127.0.0.1", Protocol::Tcp), published("0.0.0.0", Protocol::Udp)];
        let script = table(&names, &rules(&ports));
        for rule in [
            "ip daddr 127.0.0.1 tcp dport 8080 dnat to 10.89.0.2:80",
            "fib daddr type local udp dport 8080 dnat to 10.89.0.2:80",
        ] {
            // From outside, and from this host itself.
            assert_eq!(script.matches(rule).count(), 2, "{script}");
        }
    }
}
