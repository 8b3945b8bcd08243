//! Existing hosts over SSH: the story that all drivers share, that nodes come back with their hosts, and that hosts are
//! left unchanged.
//!
//! `KCL_TEST_RUNC` and `KCL_TEST_SSH_HOST` say what the hosts are made of: see `drivers/ssh/tests/hosts`.

use crate::bed::Bed;
use crate::hosts::{self, Kind};
use crate::story;
use crate::support::Home;

#[test]
fn three_nodes() {
    let home = Home::new("ssh");
    let Some(bed) = Bed::new(&home, &[Kind::Bare, Kind::Bare, Kind::Systemd]) else { return };
    // It is dropped first, so that its clusters are deleted while their hosts exist.
    let home = home;
    let before = bed.runtime.block_on(bed.hosts().all_traces());
    let hosts: Vec<String> = bed.hosts().targets.iter().map(|target| target.host.to_string()).collect();
    let mut flags = vec!["--accept-host-key"];
    flags.extend(hosts.iter().flat_map(|host| ["--host", host]));
    home.step("cut while files are sent");
    let line = hosts::cut(100);
    let first = bed.hosts();
    let output = std::thread::scope(|scope| {
        scope.spawn(|| bed.runtime.block_on(first.shell(0, &line)));
        home.cluster("ssh").start(&flags)
    });
    let said = output.fails();
    assert!(said.contains("the connection was cut") && said.contains("kcl start -p ssh"), "{output}");
    let sent = "find /var/lib/kcl/trees -type f ! -name '.kcl-*' | wc -l";
    assert_ne!(bed.runtime.block_on(first.shell(0, sent)), "0", "{output}");

    home.step("the next start goes on");
    let cluster = story::three_nodes(&home, "ssh", &flags);
    let names = cluster.node_names();

    home.step("a host is started again, and systemd there its node");
    bed.runtime.block_on(bed.hosts().restart(2));
    assert_eq!(cluster.run_on(&names[2], "again", "echo by itself"), "by itself");

    home.step("a host without systemd is, and kcl starts its node");
    bed.runtime.block_on(bed.hosts().restart(1));
    assert_eq!(cluster.nodes()[1]["Status"], "Stopped");
    cluster.start(&[]).ok();
    assert_eq!(cluster.run_on(&names[1], "again", "echo by kcl"), "by kcl");
    cluster.settled();
    story::pods_reach_each_other(&cluster);

    home.step("delete");
    cluster.kcl(["delete"]).ok();
    bed.runtime.block_on(bed.hosts().assert_as_before(&before));
}
