//! The shortest story: there is a cluster, it runs a pod, and then there is nothing.

use crate::benchmark::rows_pass;
use crate::support::Home;

#[test]
fn a_cluster_comes_and_goes_without_a_trace() {
    let home = Home::new("smoke");
    let cluster = home.start("smoke", &[]);
    cluster.kubectl(["run", "hello", "--image=kcl.local/busybox:1.35", "--restart=Never", "--", "echo", "hello"]);
    cluster.wait_for("jsonpath={.status.phase}=Succeeded", &["pod/hello"]);
    assert_eq!(cluster.kubectl(["logs", "hello"]), "hello");

    home.step("rows of the CIS benchmark");
    rows_pass(&cluster, "smoke");

    // The test of leftovers looks at the right things: they are all there now.
    let traces = cluster.traces();
    assert!(traces.processes.iter().any(|(_, what)| what.contains("kube-apiserver")), "{traces:#?}");
    assert!(!traces.links.is_empty() && !traces.tables.is_empty(), "{traces:#?}");
    assert!(!traces.groups.is_empty() && !traces.run.is_empty() && !traces.mounts.is_empty(), "{traces:#?}");
}
