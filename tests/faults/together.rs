//! Several kcl at once.

use crate::run::{self, nothing_left};
use crate::support::Home;

#[test]
fn two_starts_of_one_cluster() {
    let home = Home::new("two-starts");
    let cluster = home.cluster("both");
    let mut first = run::start(&cluster, &[]);
    first.step("machines");
    let mut second = run::start(&cluster, &[]);
    second.says("Waiting for process");
    let (first, second) = (first.end(), second.end());
    first.ok();
    assert!(second.ok().contains("works on the same cluster"), "{second}");
    cluster.settled();
    assert_eq!(cluster.nodes().len(), 1);
}

#[test]
fn a_delete_and_a_start_while_another_works() {
    let home = Home::new("start-delete");
    let cluster = home.cluster("both");
    let mut start = run::start(&cluster, &[]);
    start.step("machines");
    let mut delete = run::verb(&cluster, "delete");
    delete.says("Waiting for process");
    start.end().ok();
    delete.end().ok();
    nothing_left(&home, &cluster);

    home.step("a start waits for a stop");
    cluster.start(&[]).ok();
    let mut stop = run::verb(&cluster, "stop");
    stop.step("stop");
    let mut start = run::start(&cluster, &[]);
    start.says("(kcl");
    stop.end().ok();
    start.end().ok();
    cluster.settled();

    home.step("a stop waits for a delete");
    let mut delete = run::verb(&cluster, "delete");
    delete.step("delete");
    let mut stop = run::verb(&cluster, "stop");
    stop.says("(kcl");
    delete.end().ok();
    stop.end().fails_with(85);
    nothing_left(&home, &cluster);
}

/// Each proposes the subnet that is free when it looks; whoever comes later takes another.
#[test]
fn clusters_that_start_at_the_same_time_have_networks_of_their_own() {
    let home = Home::new("same-time");
    for round in 0..3 {
        let clusters = ["one", "two", "three"].map(|name| home.cluster(name));
        let runs = clusters.each_ref().map(|cluster| run::start(cluster, &["--wait", "api"]));
        for run in runs {
            run.end().ok();
        }
        let mut gateways = clusters.each_ref().map(|cluster| cluster.gateway()).to_vec();
        home.step(&format!("round {round}: {gateways:?}"));
        gateways.sort();
        gateways.dedup();
        assert_eq!(gateways.len(), clusters.len());
        for run in clusters.each_ref().map(|cluster| run::verb(cluster, "delete")) {
            run.end().ok();
        }
    }
}
