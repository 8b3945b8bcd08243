//! Tests the output of verbs without a cluster, and that they leave nothing behind.

use assert_cmd::cargo::cargo_bin;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::home::Home;

#[test]
fn what_is_not_there() {
    let home = Home::new();
    assert_snapshot!(home.story(&[
        &["status"],
        &["status", "-o", "json"],
        &["status", "-p", "web"],
        &["profile", "list"],
        &["profile", "list", "-o", "json"],
        &["node", "list", "-p", "web"],
        &["node", "list", "-o", "json"],
        &["stop", "-p", "web"],
        &["ssh", "-p", "web"],
        &["ssh", "--", "ls", "-l"],
        &["logs", "-p", "web"],
        &["kubectl", "-p", "web", "--", "get", "nodes"],
        &["service", "list", "-p", "web"],
        &["service", "app", "--url"],
        &["service"],
        &["update-context", "-p", "web"],
        &["dashboard", "-p", "web"],
    ]));
    assert!(home.files().is_empty(), "looking leaves nothing behind: {:?}", home.files());
}

#[test]
fn images_of_addons_are_known_without_a_cluster() {
    let home = Home::new();
    let headlamp = home.told(&["addons", "images", "headlamp"]);
    assert!(headlamp.contains("/headlamp:v"), "its image is in a manifest: {headlamp}");
    let storage = home.told(&["addons", "images", "storage"]);
    assert!(storage.contains("/local-path-provisioner:v") && storage.contains("kcl.local/busybox:"), "{storage}");
    assert!(home.files().is_empty(), "{:?}", home.files());
}

#[test]
fn deleting_what_is_not_there_is_no_error() {
    let home = Home::new();
    assert_snapshot!(home.story(&[&["delete"], &["delete", "-p", "web"], &["delete", "--all"]]));
    let left = home.files();
    assert!(left.iter().all(|path| path.starts_with("home") && path.components().count() <= 2), "{left:?}");
}

/// A dry run needs no root, waits for nobody and leaves nothing behind.
#[test]
fn a_dry_run_only_looks() {
    let home = Home::new();
    let arguments = ["start", "--dry-run", "--nodes", "3", "--subnet", "192.168.89.0/24", "-p", "web"];
    assert_snapshot!(home.told(&arguments));
    let json = home.kcl(&arguments).args(["-o", "json"]).assert().success().get_output().stdout.clone();
    let plan: Value = serde_json::from_slice(&json).expect("JSON and nothing else");
    assert_eq!(plan["cluster"], "web");
    let nodes = &plan["waves"][0];
    assert_eq!(nodes.as_array().map(Vec::len), Some(3));
    assert_eq!(nodes[2]["action"], "create");
    assert!(home.files().is_empty(), "{:?}", home.files());
}

#[test]
fn a_dry_run_as_any_user() {
    if !nix::unistd::geteuid().is_root() {
        return; // Then the test above was one already.
    }
    let home = Home::new();
    let program = home.file("kcl", "");
    // A copy that everyone may read, written by another process: a child of another test's thread could inherit our
    // descriptor for a moment, and what is open for writing cannot be run (ETXTBSY).
    let copied = std::process::Command::new("install").args(["-m", "755"]).arg(cargo_bin("kcl")).arg(&program).status();
    assert!(copied.is_ok_and(|status| status.success()), "a copy");
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(program.parent().expect("its directory"), mode(0o755)).expect("the directory's mode");
    let as_nobody = |arguments: &[&str]| {
        let mut command = assert_cmd::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).args(arguments);
        command.env("HOME", "/nonexistent").env_remove("KCL_HOME").env_remove("KCL_CACHE").env_remove("XDG_DATA_HOME");
        command.output().expect("it runs")
    };
    let plan = as_nobody(&["start", "--dry-run", "-o", "json"]);
    assert!(plan.status.success(), "{plan:?}");
    assert_eq!(serde_json::from_slice::<Value>(&plan.stdout).expect("JSON")["new"], json!(true));
    // What cannot work says so, and how it can.
    let start = as_nobody(&["start"]);
    let said = String::from_utf8_lossy(&start.stderr);
    assert!(!start.status.success() && said.contains("error: "), "{said}");
}

#[test]
fn nothing_in_a_pipe_has_colours() {
    let home = Home::new();
    let lines: [&[&str]; 6] = [
        &["--help"],
        &["start", "--help"],
        &["start", "--bogus"],
        &["stop"],
        &["start", "--memory", "x"],
        &["start", "--dry-run"],
    ];
    for arguments in lines {
        for no_color in [None, Some("1")] {
            let mut command = home.kcl(arguments);
            no_color.map(|value| command.env("NO_COLOR", value));
            let output = command.output().expect("kcl runs");
            for bytes in [output.stdout, output.stderr] {
                assert!(!bytes.contains(&0x1b), "{arguments:?}: {}", String::from_utf8_lossy(&bytes));
            }
        }
    }
}

#[test]
fn drivers_are_looked_at_and_nothing_is_left() {
    let home = Home::new();
    let json = home.kcl(&["drivers", "-o", "json"]).assert().success().get_output().stdout.clone();
    let rows: Value = serde_json::from_slice(&json).expect("JSON");
    let rows = rows.as_array().expect("a list");
    assert_eq!(rows[0]["Name"], "native");
    assert!(rows.iter().filter(|row| row["Default"] == true).count() <= 1, "{rows:#?}");
    for row in rows.iter().filter(|row| row["Works"] == false) {
        let errors = row["Findings"].as_array().expect("a list").iter().filter(|one| one["severity"] == "error");
        assert_ne!(errors.count(), 0, "why is to be said: {row:#}");
    }
    assert!(home.told(&["drivers"]).contains("native"));
    assert!(home.files().is_empty(), "{:?}", home.files());
}
