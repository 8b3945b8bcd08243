//! A machine that is ended from outside: `status` tells, and `start` mends it with all that it held.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Home, eventually};

#[test]
fn a_node_whose_first_process_is_killed() {
    let home = Home::new("ended");
    let cluster = home.start("ended", &["--nodes", "2"]);
    cluster.kubectl(["create", "configmap", "kept", "--from-literal=is=kept"]);
    for node in ["ended-m02", "ended"] {
        home.step(&format!("{node} is ended from outside"));
        kill(first_process(node), Signal::SIGKILL).expect("it runs");
        // The kernel takes the rest of the node with it.
        eventually("the node is seen to be off", || {
            let nodes = cluster.nodes();
            let status = nodes.iter().find(|row| row["Name"] == node).map(|row| row["Status"].clone());
            if status.as_ref().is_some_and(|status| status == "Stopped") { Ok(()) } else { Err(format!("{nodes:?}")) }
        });
        let status = cluster.kcl(["status"]);
        assert_eq!(status.code.map(|code| code & 3), Some(3), "{status}");
        cluster.start(&[]).ok();
        cluster.settled();
        assert_eq!(cluster.kcl(["status"]).code, Some(0));
        assert_eq!(cluster.field(&["configmap", "kept"], ".data.is"), "kept");
    }
}

/// The first process of a node, as the host sees it: an agent in a control group of the node's name that is process 1 of
/// its own namespace.
fn first_process(node: &str) -> Pid {
    let group = format!("/{node}\n");
    let is_first = |pid: &i32| {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let ids = read("status").lines().find_map(|line| line.strip_prefix("NSpid:").map(str::to_owned));
        read("cgroup").contains(&group)
            && read("comm").trim() == "kcl-node"
            && ids.is_some_and(|ids| ids.split_whitespace().nth(1) == Some("1"))
    };
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    Pid::from_raw(pids.find(is_first).unwrap_or_else(|| panic!("no first process of {node}")))
}
