//! Judges the host: finds every obstacle at once, each with the command that fixes it. Pure.

use kcl_driver_api::{Finding, PreflightRequest};
use kcl_driver_local::checks;
use kcl_driver_local::process::by_sudo;
use kcl_driver_oci::preflight::{self, Host};

use crate::facts::Facts;
use crate::subnet;

/// Returns all findings, the gravest in the order in which a user would fix them.
pub(crate) fn judge(facts: &Facts, request: &PreflightRequest) -> Vec<Finding> {
    let host = Host { facts: &facts.host, name: "the host", is_remote: false, to_send: 0 };
    let checks: [fn(&Facts, &PreflightRequest) -> Option<Finding>; 3] = [links, nf_tables, subnet_collision];
    let mut findings = Vec::from_iter(root(facts));
    findings.extend(preflight::kernel(&host, request));
    findings.extend(checks.iter().filter_map(|check| check(facts, request)));
    findings.extend(preflight::capacity(&host, request));
    findings
}

fn root(facts: &Facts) -> Option<Finding> {
    let message = format!(
        "the native driver makes mounts, links and control groups and needs root; this is user {}. The kernel was not \
         tested",
        facts.uid
    );
    (facts.uid != 0).then(|| Finding::error("root", message).fix(format!("{} start", by_sudo())))
}

fn links(facts: &Facts, _: &PreflightRequest) -> Option<Finding> {
    let problem = facts.links.as_ref()?;
    let message = format!("{problem}. The network of a cluster is a bridge with veth links");
    Some(Finding::error("bridge", message).fix("modprobe -a bridge veth"))
}

fn nf_tables(facts: &Facts, _: &PreflightRequest) -> Option<Finding> {
    let problem = facts.filter.as_ref()?;
    let message =
        format!("{problem}. Nodes reach the network beyond by nftables masquerading, and kube-proxy needs nftables");
    Some(Finding::error("nf-tables", message).fix("modprobe -a nf_tables nft_chain_nat nft_masq"))
}

fn subnet_collision(facts: &Facts, request: &PreflightRequest) -> Option<Finding> {
    let subnet = request.subnet?.v4()?;
    let others = subnet::collisions(subnet, &facts.networks, &facts.bridge).map(|other| (other.by.as_str(), other.net));
    checks::subnet_collision(subnet, others, subnet::propose(&facts.networks, &facts.bridge))
}

#[cfg(test)]
mod tests;
