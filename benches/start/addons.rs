//! Measures addons from `enable` to ready, with cached images, and the time that a Service of type LoadBalancer waits
//! for its address.

use std::error::Error;

use crate::cluster::{Cluster, Timing};

/// The addons to enable, each with its name in the table.
const ADDONS: [(&str, &str); 3] =
    [("storage", "enable storage"), ("metrics-server", "enable metrics-server"), ("ingress", "enable ingress")];

/// Waits for the address of a Service that was just made.
const ADDRESS: [&str; 6] = [
    "wait",
    "service/balanced",
    "--for=jsonpath={.status.loadBalancer.ingress[0].ip}",
    "--timeout=60s",
    "-n",
    "default",
];

/// On a cluster that this starts. Only the steps that call `add` are timed.
pub(crate) fn measure(cluster: &Cluster, mut add: impl FnMut(&'static str, Timing)) -> Result<(), Box<dyn Error>> {
    cluster.kcl(&["artifacts", "fetch", "--addons", "all"])?;
    cluster.start()?;
    cluster.kcl(&["addons", "disable", "storage"])?;
    for (name, what) in ADDONS {
        add(what, cluster.timed(&["addons", "enable", name])?);
    }
    // Where Services have the nodes' own addresses, ingress has port 80.
    cluster.kcl(&["kubectl", "--", "create", "service", "loadbalancer", "balanced", "--tcp=8081:80"])?;
    let wait = ["kubectl", "--"].iter().chain(&ADDRESS).copied().collect::<Vec<_>>();
    add("LoadBalancer address", cluster.timed(&wait)?);
    cluster.delete()?;
    Ok(())
}
