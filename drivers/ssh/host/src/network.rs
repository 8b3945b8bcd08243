//! The network of the host, as it was before a node ran in it, and put back after.
//!
//! A node shares the host's network: its agent, kube-proxy, the kubelet and the network plugins set kernel parameters,
//! packet filter tables, links and routes there. What there was before is written down before the node starts.

use std::fs;
use std::path::{Path, PathBuf};

use kcl_driver_api::Result;
use kcl_driver_local::context::Context as _;
use kcl_driver_local::storage;
use kcl_driver_oci::layout::MachineNames;
use kcl_driver_oci::netlink::Netlink;
use kcl_driver_oci::{access, nft};
use kcl_node_spec::NodeSpec;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Kernel parameters that a node sets, below `/proc/sys`; `*` stands for one name. Those in front change others, so they
/// are put back first.
const PARAMETERS: &[&str] = &[
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/forwarding",
    "net/ipv4/conf/default/forwarding",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/forwarding",
    "net/ipv4/conf/*/forwarding",
    "net/ipv6/conf/*/forwarding",
    "net/ipv4/conf/*/accept_redirects",
    "net/ipv4/conf/*/rp_filter",
    "net/ipv4/conf/*/route_localnet",
    "net/ipv4/icmp_ratemask",
    "net/ipv4/vs/*",
    "net/bridge/*",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Tables of the packet filter that only a node makes.
const TABLES: &[&str] = &["kcl", "kube-proxy", "cni_hostport", "cni-hostport"];
/// Tables of iptables, which others may have too.
const SHARED_TABLES: &[&str] = &["filter", "nat", "mangle", "raw"];

/// What there was.
#[derive(Debug, Serialize, Deserialize)]
struct Before {
    /// The root file system whose tools are used.
    rootfs: PathBuf,
    /// Values by path below `/proc/sys`, in the order in which they are put back.
    parameters: Vec<(String, String)>,
    /// Tables of the packet filter: family and name.
    tables: Vec<(String, String)>,
    /// Names of links.
    links: Vec<String>,
}

fn file(names: &MachineNames) -> PathBuf {
    names.dir.join("network-before.json")
}

/// Writes down what there is, unless that was done already and not put back.
pub(crate) fn record(names: &MachineNames, rootfs: &Path) -> Result<()> {
    if file(names).exists() {
        return Ok(());
    }
    let links = with_netlink(async |netlink| netlink.links().await)?;
    let before = Before {
        rootfs: rootfs.to_owned(),
        parameters: parameters(),
        tables: tables(rootfs)?,
        links: links.into_iter().map(|link| link.name).collect(),
    };
    storage::write(&file(names), &before)
}

/// Puts everything back.
pub(crate) fn restore(names: &MachineNames) -> Result<()> {
    let Some(before) = storage::read::<Before>(&file(names))? else { return Ok(()) };
    if before.rootfs.is_dir() {
        remove_tables(&before)?;
    }
    // A machine without a node spec never ran a node.
    if let Some(spec) = node_spec(names) {
        with_netlink(async |netlink| remove_links_and_routes(&netlink, &before, &spec).await)?;
    }
    for (name, value) in &before.parameters {
        let path = Path::new("/proc/sys").join(name);
        match fs::read_to_string(&path) {
            // Of a link that is gone, or a module.
            Err(_) => {}
            Ok(found) if found.trim() == value => {}
            Ok(_) => fs::write(&path, value).with_context(|| format!("put {} back to {value}", path.display()))?,
        }
    }
    storage::remove_file(&file(names))
}

fn with_netlink<T>(work: impl AsyncFnOnce(Netlink) -> Result<T>) -> Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().with_context(|| "start a runtime")?;
    runtime.block_on(async { work(Netlink::connect()?).await })
}

/// What the machine was told; it need not be readable any more.
fn node_spec(names: &MachineNames) -> Option<NodeSpec> {
    let upper = names.upper().join(kcl_node_spec::paths::SPEC.trim_start_matches('/'));
    let content = fs::read(upper)
        .or_else(|_| access::get(names, Path::new(kcl_node_spec::paths::SPEC)).map_err(std::io::Error::other));
    serde_json::from_slice(&content.ok()?).ok()
}

fn parameters() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for pattern in PARAMETERS {
        for name in expand(pattern) {
            if found.iter().any(|(known, _)| *known == name) {
                continue;
            }
            if let Ok(value) = fs::read_to_string(Path::new("/proc/sys").join(&name)) {
                found.push((name, value.trim().to_owned()));
            }
        }
    }
    found
}

/// The names that a pattern stands for.
fn expand(pattern: &str) -> Vec<String> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![pattern.to_owned()] };
    let entries = fs::read_dir(Path::new("/proc/sys").join(before)).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| format!("{before}{}{after}", entry.file_name().to_string_lossy())).collect();
    names.sort();
    names
}

fn tables(rootfs: &Path) -> Result<Vec<(String, String)>> {
    let listed = objects(rootfs, &["list", "tables"], "table")?;
    Ok(listed.iter().map(|table| (text(table, "family"), text(table, "name"))).collect())
}

/// The objects of a kind that nft tells of: libnftables-json(5).
fn objects(rootfs: &Path, arguments: &[&str], kind: &str) -> Result<Vec<Value>> {
    let written = nft::output(Some(rootfs), &[&["-j"], arguments].concat(), "")?;
    let all: Value = serde_json::from_slice(&written).with_context(|| "understand nft")?;
    let list = all["nftables"].as_array().cloned().unwrap_or_default();
    Ok(list.into_iter().filter_map(|mut object| object.get_mut(kind).map(Value::take)).collect())
}

fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_default().to_owned()
}

/// Removes tables of the node; of those that are shared, chains and rules of the kubelet, and the table where nothing
/// else is in it and it was not there before.
fn remove_tables(before: &Before) -> Result<()> {
    let mut script = String::new();
    for (family, name) in tables(&before.rootfs)? {
        let new = !before.tables.contains(&(family.clone(), name.clone()));
        if TABLES.contains(&name.as_str()) && new {
            script.push_str(&format!("delete table {family} {name}\n"));
        } else if SHARED_TABLES.contains(&name.as_str()) {
            clean_table(before, &family, &name, new, &mut script)?;
        }
    }
    if script.is_empty() { Ok(()) } else { nft::nft(Some(&before.rootfs), &script) }
}

fn clean_table(before: &Before, family: &str, table: &str, new: bool, script: &mut String) -> Result<()> {
    let ours = |name: &str| name.starts_with("KUBE-") || name.starts_with("CNI-");
    let list = ["list", "table", family, table];
    let chains: Vec<Value> = objects(&before.rootfs, &list, "chain")?;
    let rules = objects(&before.rootfs, &list, "rule")?;
    let to_ours = |rule: &&Value| {
        let jump = rule["expr"].as_array().into_iter().flatten();
        jump.filter_map(|part| part["jump"]["target"].as_str().or(part["goto"]["target"].as_str())).any(ours)
    };
    let own: Vec<String> = chains.iter().map(|chain| text(chain, "name")).filter(|name| ours(name)).collect();
    let others = rules.iter().filter(|rule| !ours(&text(rule, "chain")) && !to_ours(rule)).count()
        + chains.iter().filter(|chain| !ours(&text(chain, "name")) && chain.get("hook").is_none()).count();
    if new && others == 0 {
        script.push_str(&format!("delete table {family} {table}\n"));
        return Ok(());
    }
    for rule in rules.iter().filter(to_ours) {
        script.push_str(&format!("delete rule {family} {table} {} handle {}\n", text(rule, "chain"), rule["handle"]));
    }
    // Emptied first, as they refer to each other.
    for name in &own {
        script.push_str(&format!("flush chain {family} {table} {name}\n"));
    }
    for name in &own {
        script.push_str(&format!("delete chain {family} {table} {name}\n"));
    }
    Ok(())
}

/// Links of pods, tunnels between nodes (they have an address of the pods too), and routes to pods, services and peers.
async fn remove_links_and_routes(netlink: &Netlink, before: &Before, spec: &NodeSpec) -> Result<()> {
    let pods = spec.network.cluster_cidr;
    for link in netlink.links().await? {
        if before.links.contains(&link.name) {
            continue;
        }
        // The host's end of a pod's link has an address of the pods.
        let of_pods = netlink.addresses(&link).await?.iter().any(|net| pods.contains(&net.addr()));
        if of_pods {
            netlink.delete(&link.name).await?;
        }
    }
    netlink.delete_routes_within(pods).await?;
    netlink.delete_routes_within(spec.network.service_cidr).await?;
    // Ways to networks that peers are on, which the node's spec named.
    for route in &spec.network.routes {
        netlink.delete_routes_within(route.to).await?;
    }
    Ok(())
}
