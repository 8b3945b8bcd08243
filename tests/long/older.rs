//! A cluster of an older kcl, in the hands of this one.

use std::process::Command;

use serde_json::Value;

use crate::support::{Home, Output};

/// Runs the older kcl, which `make test-long` builds from the history, in a home.
fn older(home: &Home, arguments: &[&str]) -> Output {
    let program = std::env::var_os("KCL_TEST_OLDER").expect("make test-long sets KCL_TEST_OLDER");
    let own = home.command(arguments);
    let mut command = Command::new(program);
    command.args(own.get_args()).current_dir(home.scratch());
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Output::of(&mut command)
}

#[test]
fn a_cluster_of_an_older_kcl_is_started_changed_stopped_and_deleted() {
    let home = Home::new("older");
    let cluster = home.cluster("older");
    older(&home, &["start", "-p", "older", "--nodes", "2", "--nameservers", "none"]).ok();
    cluster.kubectl(["create", "configmap", "kept", "--from-literal=a=b"]);
    let kept = || cluster.field(&["configmap", "kept"], ".data.a");
    let addresses = || cluster.nodes().iter().map(|node| node["IP"].clone()).collect::<Vec<Value>>();
    let before = addresses();

    home.step("it is read as it runs");
    cluster.kcl(["status"]).ok();
    assert_eq!(cluster.node_names(), ["older", "older-m02"]);

    home.step("it is started as it runs");
    cluster.start(&[]).ok();
    assert_eq!((kept().as_str(), addresses()), ("b", before.clone()));

    home.step("it is changed");
    cluster.start(&["--nodes", "3"]).ok();
    assert_eq!(addresses()[..2], before);

    home.step("it is stopped and started");
    cluster.kcl(["stop"]).ok();
    cluster.start(&[]).ok();
    cluster.kcl(["status"]).ok();
    assert_eq!(kept(), "b");

    home.step("one that the older kcl stopped is started");
    let cluster = home.cluster("stopped");
    older(&home, &["start", "-p", "stopped", "--nameservers", "none"]).ok();
    older(&home, &["stop", "-p", "stopped"]).ok();
    cluster.start(&[]).ok();
    cluster.kcl(["status"]).ok();

    home.step("one that the older kcl left is deleted");
    home.cluster("left");
    older(&home, &["start", "-p", "left", "--nameservers", "none"]).ok();
}
