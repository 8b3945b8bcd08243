//! Stateful workloads, and checks that the text does not show.

use crate::support::{TestCluster, eventually};
use crate::tutorial::Tutorial;

/// Runs the tutorial.
pub(crate) fn story(cluster: &TestCluster<'_>) {
    let mut tutorial = Tutorial::open(cluster.home, "stateful");
    tutorial.section("");
    let sums = tutorial.section("Jobs");
    assert_eq!(sums.matches("500500").count(), 2, "1 to 1000, and 0 to 1000: {sums}");
    assert_eq!(sums.matches("500499").count(), 1, "2 to 1000: {sums}");
    let store = tutorial.section("Three with a volume each");
    for node in cluster.node_names() {
        let line = |line: &&str| line.starts_with("store-") && line.split_whitespace().nth(1) == Some(&*node);
        assert_eq!(store.lines().filter(line).count(), 1, "one on {node}: {store}");
    }
    tutorial.finish();
    eventually("the volumes are gone", || {
        let volumes = cluster.field(&["pv"], ".items[*].spec.claimRef.namespace");
        if volumes.contains("stateful") { Err(volumes) } else { Ok(()) }
    });
}
