//! A machine is killed from outside: `status` reports it, and `start` repairs it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Home, TestCluster, eventually};

#[test]
fn a_machine_that_was_killed() {
    let home = Home::new("killed-machine");
    let cluster = home.start("machine", &[]);
    cluster.kubectl(["create", "configmap", "precious", "--from-literal=a=b"]);
    let before = first_process(&cluster);
    kill(Pid::from_raw(before), Signal::SIGKILL).expect("it runs");
    let status = eventually("its end is seen", || {
        let output = cluster.kcl(["status", "-o", "json"]);
        if output.code == Some(3) { Ok(output) } else { Err(output.to_string()) }
    });
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    for (key, value) in [("Host", "Stopped"), ("Kubelet", "Stopped"), ("APIServer", "Stopped")] {
        assert_eq!(status[key], value, "{status:#}");
    }
    assert!(cluster.kcl(["ssh", "--", "true"]).fails().contains("kcl start -p machine"));
    cluster.start(&[]).ok();
    cluster.settled();
    assert_ne!(first_process(&cluster), before);
    assert_eq!(cluster.kcl(["status"]).code, Some(0));
    assert_eq!(cluster.field(&["configmap", "precious"], ".data.a"), "b");
}

/// The number of the machine's first process, as the host counts.
#[track_caller]
fn first_process(cluster: &TestCluster<'_>) -> i32 {
    let processes = cluster.traces().processes;
    let init = processes.iter().find(|(_, command)| command.contains("kcl-node run"));
    init.unwrap_or_else(|| panic!("no agent runs: {processes:#?}")).0
}
