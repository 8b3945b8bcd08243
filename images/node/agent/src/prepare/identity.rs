//! The identity of the node: its machine id, its host name, and its names for hosts.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use kcl_node_spec::NodeSpec;
use kcl_node_spec::resolv_conf::Resolvers;

use crate::error::{Doing, Result};
use crate::facts::Facts;
use crate::{files, paths};

const MACHINE_ID: &str = "/var/lib/kcl/machine-id";
const HOSTS: &str = "/etc/hosts";
const BEGIN: &str = "# kcl begin";
const END: &str = "# kcl end";

/// Sets the host name and the machine id, on a node whose system belongs to the agent.
pub(super) fn set(spec: &NodeSpec) -> Result<()> {
    nix::unistd::sethostname(&spec.name).doing(|| format!("set the host name to {}", spec.name))?;
    files::write(Path::new("/etc/hostname"), format!("{}\n", spec.name).as_bytes(), 0o644)?;
    if !Path::new(MACHINE_ID).exists() {
        // machine-id(5): 128 random bits in lower-case hexadecimal digits.
        let id = files::read("/proc/sys/kernel/random/uuid")?.replace('-', "");
        files::write(Path::new(MACHINE_ID), id.as_bytes(), 0o444)?;
    }
    files::write(Path::new("/etc/machine-id"), files::read(MACHINE_ID)?.as_bytes(), 0o444)
}

/// Writes `/etc/hosts` and the resolver file.
pub(super) fn names(spec: &NodeSpec, facts: &Facts) -> Result<()> {
    let found = fs::read_to_string(HOSTS).unwrap_or_default();
    let text = if facts.init { own_hosts(spec) } else { with_block(&found, &host_lines(spec)) };
    files::write(Path::new(HOSTS), text.as_bytes(), 0o644)?;
    if !spec.network.nameservers.is_empty() {
        let text = resolvers(spec).text();
        files::write(&paths::rendered("resolv.conf"), text.as_bytes(), 0o644)?;
        if facts.init {
            files::write(Path::new("/etc/resolv.conf"), text.as_bytes(), 0o644)?;
        }
    }
    Ok(())
}

fn host_lines(spec: &NodeSpec) -> String {
    let mut lines = String::new();
    for entry in &spec.network.hosts {
        let _ = writeln!(lines, "{} {}", entry.address, entry.names.join(" "));
    }
    lines
}

fn own_hosts(spec: &NodeSpec) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    if !spec.network.hosts.iter().any(|entry| entry.names.contains(&spec.name)) {
        for address in spec.address.iter() {
            let _ = writeln!(text, "{address} {}", spec.name);
        }
    }
    text + &host_lines(spec)
}

/// Returns `found` with kcl's lines between two marks; the rest is unchanged.
fn with_block(found: &str, lines: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for line in found.lines() {
        match line {
            BEGIN => inside = true,
            END => inside = false,
            _ if inside => {}
            _ => {
                kept.push_str(line);
                kept.push('\n');
            }
        }
    }
    format!("{kept}{BEGIN}\n{lines}{END}\n")
}

fn resolvers(spec: &NodeSpec) -> Resolvers {
    let network = spec.network.clone();
    Resolvers { nameservers: network.nameservers, search: network.search, options: network.options }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;

    #[test]
    fn hosts_of_a_host_keep_what_is_not_ours() {
        let once = with_block("127.0.0.1 localhost\n", "10.0.0.2 a\n");
        assert_eq!(once, "127.0.0.1 localhost\n# kcl begin\n10.0.0.2 a\n# kcl end\n");
        assert_eq!(with_block(&once, "10.0.0.3 b\n"), "127.0.0.1 localhost\n# kcl begin\n10.0.0.3 b\n# kcl end\n");
    }

    #[test]
    fn hosts_of_a_container_name_the_node_once() {
        let mut spec = spec();
        assert!(own_hosts(&spec).ends_with("10.111.0.2 kcl\n10.111.0.1 host.kcl.internal\n"));
        spec.network.hosts[0].names.push("kcl".to_owned());
        assert!(!own_hosts(&spec).contains("10.111.0.2"));
    }

    #[test]
    fn resolvers_and_domains() {
        assert_eq!(resolvers(&spec()).text(), "nameserver 10.111.0.1\nsearch example.org\n");
    }
}
