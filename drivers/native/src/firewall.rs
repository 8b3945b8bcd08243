//! Packet filter rules of a cluster's network: masquerading, and a way through others' rules.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use ipnet::Ipv4Net;
use kcl_driver_api::{ErrorKind, Result};

use crate::doing::Doing;
use crate::layout::ClusterNames;
use crate::nft::{check, nft};

/// Masquerades what leaves the cluster's network, by a table of ours that is replaced as a whole.
/// What stays on the bridge is left alone, also where br_netfilter shows bridged packets to this chain.
fn table(names: &ClusterNames, subnet: Ipv4Net) -> String {
    let (table, bridge) = (&names.table, &names.bridge);
    format!(
        "table ip {table}\n\
         delete table ip {table}\n\
         table ip {table} {{\n\
         \tchain postrouting {{\n\
         \t\ttype nat hook postrouting priority 100; policy accept;\n\
         \t\tip saddr {subnet} ip daddr != {subnet} oifname != \"{bridge}\" masquerade\n\
         \t}}\n\
         }}\n"
    )
}

/// Puts the rules in place.
pub(crate) fn ensure(names: &ClusterNames, subnet: Ipv4Net, rootfs: Option<&Path>) -> Result<()> {
    nft(rootfs, &table(names, subnet))?;
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

/// Takes the rules away; those that are not there are no error.
pub(crate) fn remove(names: &ClusterNames, rootfs: Option<&Path>) -> Result<()> {
    let table = &names.table;
    match nft(rootfs, &format!("table ip {table}\ndelete table ip {table}\n")) {
        // There is no nft any more: what it made, if anything, ends with the next reboot.
        Err(error) if error.kind == ErrorKind::Host => {
            tracing::warn!("the table {table} could not be removed: {error}")
        }
        result => result?,
    }
    let Some(iptables) = iptables() else { return Ok(()) };
    for rule in accept_rules(names) {
        while run(Command::new(&iptables).args(["-w", "-D"]).args(&rule))?.status.success() {}
    }
    Ok(())
}

/// The rules for iptables's filter table, as words: chain first.
fn accept_rules(names: &ClusterNames) -> [Vec<String>; 2] {
    ["-i", "-o"].map(|way| {
        ["FORWARD", way, &names.bridge, "-m", "comment", "--comment", &names.bridge, "-j", "ACCEPT"]
            .map(String::from)
            .to_vec()
    })
}

/// Docker sets the policy of the forward chain to DROP, also for what is not its own.
fn drops_forwarded(iptables: &Path) -> Result<bool> {
    let rules = run(Command::new(iptables).args(["-w", "-S", "FORWARD"]))?;
    check(&rules, "read the host's iptables rules")?;
    Ok(String::from_utf8_lossy(&rules.stdout).lines().any(|line| line == "-P FORWARD DROP"))
}

/// The host's own iptables: only a host that has it can have rules of it.
fn iptables() -> Option<std::path::PathBuf> {
    ["/usr/sbin/iptables", "/sbin/iptables", "/usr/bin/iptables", "/usr/local/sbin/iptables"]
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
        .map(Path::to_owned)
}

fn run(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output();
    output.doing(|| format!("run {}", command.get_program().to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;

    #[test]
    fn a_table_of_our_own_replaced_as_a_whole() {
        let names = Layout::new(Path::new("/nonexistent/home"), Path::new("/run/kcl")).cluster("kcl").unwrap();
        let script = table(&names, "10.89.0.0/24".parse().unwrap());
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
}
