//! Certificates of nodes: those that run take new ones over without being restarted themselves.

use jiff::Timestamp;
use kcl_driver_api::{Driver, Exec, File, Machine, Power};
use kcl_node_spec::{Role, paths};

use super::node;
use crate::error::{Error, Id, Result};
use crate::pki::{Certificate, ClusterIdentity, Health, NodeIdentity, Pki};
use crate::state::{ClusterState, NodeRecord};

/// The components that read some certificates only when they start. New ones that the old ones vouch for are no reason to
/// restart them; if the old ones were not valid they are.
const SLOW: [&str; 2] = ["etcd", "kube-apiserver"];

/// Returns the facts about a cluster that its certificates name.
pub fn identity(state: &ClusterState) -> Result<ClusterIdentity> {
    let spec = &state.spec;
    Ok(ClusterIdentity {
        cluster: spec.name.clone(),
        dns_domain: spec.dns_domain.clone(),
        service_cidr: spec.service_cidr,
        apiserver_names: spec.apiserver_names.clone(),
        apiserver_ips: spec.apiserver_ips.iter().copied().chain([state.endpoint()?.ip()]).collect(),
        expiration: spec.cert_expiration,
    })
}

/// Returns the facts about a node that its certificates name.
pub fn node_identity(record: &NodeRecord) -> NodeIdentity {
    NodeIdentity { name: record.name.clone(), role: record.role, address: record.address }
}

/// Returns the certificates of a cluster.
pub fn of(pki: &Pki, state: &ClusterState) -> Result<Vec<Certificate>> {
    let nodes: Vec<_> = state.nodes.iter().map(node_identity).collect();
    Ok(pki.certificates(&nodes, &identity(state)?))
}

/// Returns the time from which on a certificate of a cluster's nodes, of its user or of its addons has to be renewed.
pub fn next_renewal(pki: &Pki, state: &ClusterState) -> Result<Option<Timestamp>> {
    let now = Timestamp::now();
    let due = |one: &Certificate| if one.health(now) == Health::NotYetValid { now } else { one.due() };
    Ok(of(pki, state)?.iter().filter(|one| !one.authority).map(due).min())
}

/// Fails if nodes were started by an older kcl: their agents do not restart components for certificates.
pub fn check(state: &ClusterState) -> Result<()> {
    let is_old = |node: &&NodeRecord| node.configured.as_ref().is_some_and(|found| found.certificates.is_empty());
    let Some(node) = state.nodes.iter().find(is_old) else { return Ok(()) };
    let message = format!("{} was started by an older kcl, and does not take over certificates", node.name);
    Err(Error::new(Id::PkiUnusable, message).hint(format!("run: kcl start -p {}", state.spec.name)))
}

/// Gives each running node the certificates that it is to have, control planes first, and returns once it works with them.
/// Others get them when they are started. Returns the names of the nodes whose certificates have changed.
///
/// # Errors
/// A node does not come up with its new certificates.
pub async fn renew(driver: &dyn Driver, pki: &Pki, state: &mut ClusterState) -> Result<Vec<String>> {
    check(state)?;
    let cluster = identity(state)?;
    let machines = driver.list(Some(&cluster.cluster)).await?;
    let runs = |name: &str| machines.iter().any(|one| one.name == name && one.power == Power::Running);
    let mut changed = Vec::new();
    for record in state.nodes.iter().filter(|node| !runs(&node.machine)) {
        pki.node_files(&node_identity(record), &cluster, Timestamp::now())?;
    }
    let mut nodes: Vec<&mut NodeRecord> = state.nodes.iter_mut().filter(|node| runs(&node.machine)).collect();
    nodes.sort_by_key(|node| node.role == Role::Worker);
    for record in nodes {
        // One that a start has not come to the end with is configured by the next.
        let identity = node_identity(record);
        let Some(configured) = &mut record.configured else { continue };
        let issued = pki.node_files(&identity, &cluster, Timestamp::now())?;
        let digest = node::digest(&issued.files);
        if configured.certificates == digest {
            continue;
        }
        let machine = driver.machine(&cluster.cluster, &record.machine).await?;
        take_over(machine.as_ref(), &issued.files, issued.was_invalid, record.role).await?;
        let output = machine.exec(Exec::new([paths::AGENT, "wait", "running"])).await?;
        if output.code != 0 {
            let said = String::from_utf8_lossy(&output.stderr);
            let message = format!("{} does not work with its new certificates: {}", record.name, said.trim_end());
            return Err(Error::new(Id::NodeFailed, message)
                .hint(format!("restart it with: kcl stop -p {0}; kcl start -p {0}", cluster.cluster)));
        }
        configured.certificates = digest;
        changed.push(record.name.clone());
    }
    Ok(changed)
}

/// Gives a running node files, and makes it take them over. With `all`, the components that it would not restart for new
/// certificates are restarted too.
pub async fn take_over(machine: &dyn Machine, files: &[File], all: bool, role: Role) -> Result<()> {
    machine.put(files).await?;
    order(machine, &["reload"]).await?;
    if all && role == Role::ControlPlane {
        for component in SLOW {
            order(machine, &["restart", component]).await?;
        }
    }
    Ok(())
}

async fn order(machine: &dyn Machine, words: &[&str]) -> Result<()> {
    let output = machine.exec(Exec::new([&[paths::AGENT], words].concat())).await?;
    if output.code == 0 {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = format!("{} does not take over its new configuration: {}", machine.name(), said.trim_end());
    Err(Error::new(Id::NodeFailed, message))
}
