//! Three nodes with storage, metrics and monitoring: all of it is used, and kept over what happens to nodes.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Home, TestCluster, eventually};
use crate::{metrics_server, monitoring, storage};

#[test]
fn storage_metrics_and_monitoring() {
    let home = Home::new("observed");
    let cluster = home.start("observed", &["--nodes", "3"]);
    cluster.kcl(["addons", "enable", "metrics-server", "monitoring"]).ok();
    home.step("volumes on three nodes");
    storage::fill(&cluster);
    home.step("new pods on them");
    storage::pods_are_replaced(&cluster);
    home.step("a claim grows");
    storage::a_claim_grows(&cluster);
    home.step("claims are given back");
    storage::claims_are_given_back(&cluster);

    home.step("load shows in top");
    metrics_server::make_load(&cluster);
    metrics_server::certificates_are_checked(&cluster);
    metrics_server::top_shows_load(&cluster);
    home.step("an autoscaler acts on it");
    metrics_server::an_autoscaler_scales(&cluster);

    home.step("Prometheus sees all of it");
    monitoring::all_targets_are_up(&cluster);
    monitoring::pods_are_seen(&cluster);
    let moment = monitoring::moment(&cluster);

    home.step("a node loses its power");
    cut_power(&cluster, &[cluster.field(&["pod", "store-1"], ".spec.nodeName")]);
    cluster.start(&[]).ok();
    cluster.settled();
    storage::kept(&cluster);

    home.step("all nodes lose it");
    cut_power(&cluster, &cluster.node_names());
    cluster.start(&[]).ok();
    cluster.settled();
    storage::kept(&cluster);
    monitoring::history_is_kept(&cluster, moment);

    home.step("stop and start");
    cluster.kcl(["stop"]).ok();
    cluster.start(&[]).ok();
    cluster.settled();
    storage::kept(&cluster);
    metrics_server::top_shows_load(&cluster);
    monitoring::history_is_kept(&cluster, moment);
    monitoring::all_targets_are_up(&cluster);

    home.step("disable, and enable again");
    cluster.kcl(["addons", "disable", "monitoring", "metrics-server"]).ok();
    assert!(cluster.kubectl_try(["top", "nodes"]).fails().contains("Metrics API not available"));
    assert_eq!(cluster.field(&["pvc", "prometheus", "-n", "kcl-monitoring"], ".status.phase"), "Bound");
    cluster.kcl(["addons", "enable", "monitoring"]).ok();
    monitoring::history_is_kept(&cluster, moment);
    let volume = cluster.field(&["pvc", "prometheus", "-n", "kcl-monitoring"], ".spec.volumeName");
    cluster.kcl(["addons", "disable", "monitoring", "--data"]).ok();
    cluster.wait_for("delete", &["namespace/kcl-monitoring", &format!("pv/{volume}")]);
}

/// Cuts the power of machines: their first processes end, and with them all others.
fn cut_power(cluster: &TestCluster<'_>, nodes: &[String]) {
    let spec = |pid: i32| {
        let text = std::fs::read(format!("/proc/{pid}/root/etc/kcl/node.json")).unwrap_or_default();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap_or_default()
    };
    let processes = cluster.traces().processes;
    let agents = processes.iter().filter(|(_, command)| command.contains("kcl-node run"));
    let agents = agents.filter(|(pid, _)| nodes.iter().any(|node| spec(*pid)["name"] == node.as_str()));
    let agents: Vec<i32> = agents.map(|(pid, _)| *pid).collect();
    assert_eq!(agents.len(), nodes.len(), "{processes:#?}");
    for agent in agents {
        kill(Pid::from_raw(agent), Signal::SIGKILL).expect("it runs");
    }
    eventually("their end is seen", || {
        let rows = cluster.nodes();
        let stopped = |node: &String| rows.iter().any(|row| row["Name"] == node.as_str() && row["Status"] == "Stopped");
        if nodes.iter().all(stopped) { Ok(()) } else { Err(format!("{rows:?}")) }
    });
}
