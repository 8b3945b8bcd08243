//! A cluster from one file, on a machine without a network.

use std::process::Command;

use crate::support::{Home, Output};

#[test]
fn a_bundle_is_all_that_a_machine_without_a_network_needs() {
    let home = Home::new("bundle");
    let bundle = home.scratch().join("bundle.tar.zst");
    home.step("a bundle is written from the cache");
    home.kcl(["bundle", "create", &bundle.display().to_string()]).ok();

    home.step("with no network, no toolchain and an empty cache it makes a cluster");
    let kcl = home.command(["version"]);
    let script = r#"
        "$KCL" start -p offline --nodes 2 --nameservers none --bundle "$BUNDLE"
        "$KCL" kubectl -p offline -- get nodes -o name
        "$KCL" delete -p offline
    "#;
    let mut offline = Command::new("unshare");
    // A network namespace of its own has no link at all: what is asked for outside of it fails at once.
    offline.args(["--net", "sh", "-ec", script]).current_dir(home.scratch());
    for (name, value) in kcl.get_envs() {
        match value {
            Some(value) => offline.env(name, value),
            None => offline.env_remove(name),
        };
    }
    offline
        .env("KCL", kcl.get_program())
        .env("BUNDLE", &bundle)
        .env("KCL_CACHE", home.scratch().join("empty"))
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let said = Output::of(&mut offline);
    assert_eq!(said.ok(), "node/offline\nnode/offline-m02", "{said}");
}

#[test]
fn a_bundle_that_is_none_is_said_to_be() {
    let home = Home::new("no-bundle");
    let file = home.file("bundle.tar.zst", "this is no bundle");
    let cache = home.scratch().join("empty");
    let mut command = home.command(["start", "-p", "none", "--bundle", &file.display().to_string()]);
    let said = Output::of(command.env("KCL_CACHE", cache));
    assert!(said.fails_with(66).contains("bundle.tar.zst"), "{said}");
}
