//! First steps, and what the text does not show.

use crate::support::TestCluster;
use crate::tutorial::Tutorial;

/// Runs the tutorial.
pub(crate) fn story(cluster: &TestCluster<'_>) {
    let mut tutorial = Tutorial::open(cluster.home, "first-steps");
    tutorial.section("Run an app");
    tutorial.section("Scale it");
    let nodes: std::collections::BTreeSet<_> = cluster.pods("app=app").into_iter().map(|pod| pod.node).collect();
    assert!(nodes.len() > 1, "all pods are on {nodes:?}");
    tutorial.section("Reach it at a port of every node");
    tutorial.section("Give it an address of its own");
    tutorial.section("Update it");
    tutorial.section("Undo it");
    tutorial.section("Inspect it");
    tutorial.section("See its resource usage");
    let link = tutorial.section("The console");
    assert!(link.trim().contains("token="), "{link}");
    tutorial.finish();
}
