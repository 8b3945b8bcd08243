//! A cluster that is stopped and started keeps all it has.

use crate::policies::Guarded;
use crate::support::Home;
use crate::{kept, mounts};

#[test]
fn stop_and_start_keep_everything() {
    let home = Home::new("stop-start");
    let here = format!("{}:{}:ro", mounts::directory(&home, "here").display(), mounts::PLACE);
    let cluster = home.start("keeper", &["--nodes", "2", "--mount", &here]);
    home.step("fill");
    kept::fill(&cluster);
    kept::pods_answer(&cluster);
    let guarded = Guarded::deploy(&cluster);
    guarded.only_friends_pass();
    let before = kept::look(&cluster);
    mounts::are_there(&cluster);

    home.step("stop");
    cluster.kcl(["stop"]).ok();
    let status = cluster.kcl(["status", "-o", "json"]);
    status.fails_with(HOST_STOPPED | CLUSTER_STOPPED);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    for node in status.as_array().expect("an array") {
        assert_eq!((&node["Host"], &node["Kubelet"]), (&"Stopped".into(), &"Stopped".into()), "{node}");
    }
    assert!(cluster.nodes().iter().all(|node| node["Status"] == "Stopped"));
    let traces = cluster.traces();
    assert!(traces.processes.is_empty() && traces.mounts.is_empty(), "a stopped cluster takes nothing: {traces:#?}");
    let said = cluster.kcl(["ssh", "--", "true"]);
    assert!(said.fails_with(85).contains("kcl start -p keeper"), "{said}");
    let again = cluster.kcl(["stop"]);
    again.ok();
    assert!(again.stderr.contains("is already stopped"), "{again}");

    home.step("start");
    cluster.start(&[]).ok();
    cluster.kcl(["status"]).ok();
    kept::pods_answer(&cluster);
    guarded.policies_still_hold();
    assert_eq!(kept::look(&cluster), before);
    mounts::are_there(&cluster);

    home.step("directories of this host come and go");
    mounts::come_and_go(&cluster);

    home.step("a kubeconfig that was lost");
    std::fs::remove_file(home.kubeconfig()).expect("the kubeconfig");
    cluster.kcl(["status"]).fails_with(KUBECONFIG_MISSING);
    cluster.kcl(["update-context"]).ok();
    cluster.kcl(["status"]).ok();
    assert_eq!(kept::look(&cluster), before);

    home.step("delete while stopped");
    cluster.kcl(["stop"]).ok();
    cluster.kcl(["delete"]).ok();
    cluster.kcl(["status"]).fails_with(HOST_STOPPED | CLUSTER_STOPPED | KUBECONFIG_MISSING);
    // Deleting what is not there is no error.
    cluster.kcl(["delete"]).ok();
}

/// The bits of the exit code of `kcl status`.
const HOST_STOPPED: i32 = 1;
const CLUSTER_STOPPED: i32 = 2;
const KUBECONFIG_MISSING: i32 = 4;
