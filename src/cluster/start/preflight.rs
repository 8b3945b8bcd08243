//! Everything that this host lacks for a start, in one report.

use kcl_driver_api::{ClusterRange, Finding, PreflightRequest, Severity};

use super::target::Target;
use crate::app::App;
use crate::bootstrap;
use crate::cluster::mount;
use crate::error::{Error, Id, Result};

/// Checks that machines can have the mounts, and that this host can start the machines of the plan.
pub(super) async fn check(app: &App, target: &Target) -> Result<()> {
    let Target { spec, plan, driver, before, .. } = target;
    let changed = before.as_ref().is_some_and(|state| state.spec.mounts != spec.mounts);
    mount::able(driver.as_ref(), spec, changed).await?;
    if plan.starting().next().is_none() {
        return Ok(());
    }
    let request = PreflightRequest {
        cluster: plan.cluster.clone(),
        machines: plan.starting().map(|node| node.machine.clone()).collect(),
        inotify_instances: plan
            .starting()
            .map(|node| (node.machine.clone(), bootstrap::inotify_instances(node.role)))
            .collect(),
        // A subnet that was only found free is no demand: if it is taken by now, another one is found.
        subnet: (!plan.new || spec.subnet.is_some()).then_some(plan.subnet),
        ranges: [("--pod-cidr", spec.pod_cidr), ("--service-cidr", spec.service_cidr)].map(range).to_vec(),
        cpus: spec.nodes.iter().filter_map(|node| node.cpus).max(),
        memory: spec.nodes.iter().filter_map(|node| node.memory).max(),
    };
    let findings = driver.preflight(&request).await?;
    let gone = spec.mounts.iter().filter(|mount| !mount.source.is_dir()).map(|mount| Finding {
        id: "mount-missing",
        severity: Severity::Error,
        message: format!("{} is mounted in the nodes, but is not a directory any more", mount.source.display()),
        fix: Some(format!(
            "mkdir -p {}, or without it: kcl mount -p {} --remove {}",
            mount.source.display(),
            plan.cluster,
            mount.target.display()
        )),
    });
    let findings = findings.into_iter().chain(gone);
    let (errors, warnings): (Vec<Finding>, Vec<Finding>) =
        findings.partition(|finding| finding.severity == Severity::Error);
    for warning in warnings {
        app.progress.warn(describe(&warning));
    }
    if errors.is_empty() {
        return Ok(());
    }
    let mut message = format!("this host is not ready for the {} driver:", plan.driver);
    for error in &errors {
        message.push_str("\n  - ");
        message.push_str(&describe(error));
    }
    Err(Error::new(Id::HostUnfit, message))
}

/// Returns a network of the cluster with the flag that sets it.
fn range((flag, net): (&str, kcl_node_spec::Subnets)) -> ClusterRange {
    ClusterRange { net, fix: format!("kcl start {flag} RANGE, with one that no host has") }
}

fn describe(finding: &Finding) -> String {
    match &finding.fix {
        Some(fix) => format!("{}\n      fix it with: {fix}", finding.message),
        None => finding.message.clone(),
    }
}
