//! The network of the host: recorded before a machine runs in it, and restored afterwards.
//!
//! A machine shares the host's network, and sets kernel parameters, packet filter tables, links and routes there. The
//! machine's [`Footprint`] says which.

use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use kcl_driver_api::Result;
use kcl_driver_local::context::Context as _;
use kcl_driver_local::storage;
use kcl_driver_oci::layout::MachineNames;
use kcl_driver_oci::netlink::Netlink;
use kcl_driver_oci::{access, nft};
use kcl_node_spec::{Footprint, Networks};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The network as it was before.
#[derive(Debug, Serialize, Deserialize)]
struct Before {
    /// The root file system whose tools are used.
    rootfs: PathBuf,
    /// Values by path below `/proc/sys`, in the order in which they are restored.
    parameters: Vec<(String, String)>,
    /// Tables of the packet filter: family and name.
    tables: Vec<(String, String)>,
    /// Names of links.
    links: Vec<String>,
}

fn file(names: &MachineNames) -> PathBuf {
    names.dir.join("network-before.json")
}

/// Records the network, unless there is a record already.
pub(crate) fn record(names: &MachineNames, rootfs: &Path, footprint: &Footprint) -> Result<()> {
    if file(names).exists() {
        return Ok(());
    }
    let links = with_netlink(async |netlink| netlink.links().await)?;
    let before = Before {
        rootfs: rootfs.to_owned(),
        parameters: parameters(footprint),
        tables: tables(rootfs)?,
        links: links.into_iter().map(|link| link.name).collect(),
    };
    storage::write(&file(names), &before)
}

/// Restores the network from its record.
pub(crate) fn restore(names: &MachineNames, footprint: &Footprint) -> Result<()> {
    let Some(before) = storage::read::<Before>(&file(names))? else { return Ok(()) };
    if before.rootfs.is_dir() {
        remove_tables(&before, footprint)?;
    }
    // A machine without its document never changed the network.
    if let Some(networks) = networks(names, footprint) {
        with_netlink(async |netlink| remove_links_and_routes(&netlink, &before, &networks).await)?;
    }
    set_back(Path::new("/proc/sys"), &before.parameters);
    storage::remove_file(&file(names))
}

/// Sets parameters back. One that cannot be set is reported and keeps no machine from being deleted, nor the others from
/// being set.
fn set_back(root: &Path, parameters: &[(String, String)]) {
    for (name, value) in parameters {
        let path = root.join(name);
        match fs::read_to_string(&path) {
            // The parameter's link or module is gone.
            Err(_) => {}
            Ok(found) if found.trim() == value => {}
            Ok(_) => {
                if let Err(error) = fs::write(&path, value) {
                    // Nobody may be there to read it.
                    let _ = writeln!(io::stderr(), "{} stays; it was {value} before: {error}", path.display());
                }
            }
        }
    }
}

fn with_netlink<T>(work: impl AsyncFnOnce(Netlink) -> Result<T>) -> Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().with_context(|| "start a runtime")?;
    runtime.block_on(async { work(Netlink::connect()?).await })
}

/// Reads the networks of a machine out of its document, which may be unreadable by now.
fn networks(names: &MachineNames, footprint: &Footprint) -> Option<Networks> {
    let document = Path::new(footprint.document);
    let upper = names.upper().join(document.strip_prefix("/").unwrap_or(document));
    let content = fs::read(upper).or_else(|_| access::get(names, document).map_err(io::Error::other));
    (footprint.networks)(&content.ok()?)
}

fn parameters(footprint: &Footprint) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for pattern in footprint.parameters {
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

/// Returns the names that match a pattern.
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

/// Lists the objects of a kind in nft's output: libnftables-json(5).
fn objects(rootfs: &Path, arguments: &[&str], kind: &str) -> Result<Vec<Value>> {
    let written = nft::output(Some(rootfs), &[&["-j"], arguments].concat(), "")?;
    let all: Value = serde_json::from_slice(&written).with_context(|| "understand nft")?;
    let list = all["nftables"].as_array().cloned().unwrap_or_default();
    Ok(list.into_iter().filter_map(|mut object| object.get_mut(kind).map(Value::take)).collect())
}

fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_default().to_owned()
}

/// Removes the machine's tables. Of a shared table it removes the machine's chains and rules, or the table itself if it
/// is new and holds nothing else.
fn remove_tables(before: &Before, footprint: &Footprint) -> Result<()> {
    let mut script = String::new();
    for (family, name) in tables(&before.rootfs)? {
        let new = !before.tables.contains(&(family.clone(), name.clone()));
        if footprint.tables.contains(&name.as_str()) && new {
            script.push_str(&format!("delete table {family} {name}\n"));
        } else if footprint.shared_tables.contains(&name.as_str()) {
            clean_table(before, footprint, (&family, &name), new, &mut script)?;
        }
    }
    if script.is_empty() { Ok(()) } else { nft::nft(Some(&before.rootfs), &script) }
}

fn clean_table(
    before: &Before,
    footprint: &Footprint,
    (family, table): (&str, &str),
    new: bool,
    script: &mut String,
) -> Result<()> {
    let ours = |name: &str| footprint.chains.iter().any(|prefix| name.starts_with(prefix));
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

/// Removes the machine's links, which have an address of its networks and are new, and its routes.
async fn remove_links_and_routes(netlink: &Netlink, before: &Before, networks: &Networks) -> Result<()> {
    let new = |name: &String| !before.links.contains(name);
    for link in netlink.links().await?.into_iter().filter(|link| new(&link.name)) {
        let addresses = netlink.addresses(&link).await?;
        if addresses.iter().any(|own| networks.links.iter().any(|net| net.contains(&IpAddr::V4(own.addr())))) {
            netlink.delete(&link.name).await?;
        }
    }
    for net in &networks.routes {
        netlink.delete_routes_within(*net).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_cannot_be_set_keeps_no_other_from_it() {
        let dir = tempfile::tempdir().unwrap();
        // It can be read and not written, by root neither.
        std::os::unix::fs::symlink("/proc/version", dir.path().join("fixed")).unwrap();
        fs::write(dir.path().join("open"), "1").unwrap();
        let parameters = ["fixed", "gone", "open"].map(|name| (name.to_owned(), "0".to_owned()));
        set_back(dir.path(), &parameters);
        assert_eq!(fs::read_to_string(dir.path().join("open")).unwrap(), "0");
    }
}
