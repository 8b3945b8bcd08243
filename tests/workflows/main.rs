//! The tutorials in this folder, run command by command on one cluster of three nodes. Needs root; `KCL_CACHE` may name
//! a cache that has the artifacts already.

#[path = "../support/mod.rs"]
mod support;

#[path = "admin/check.rs"]
mod admin;
#[path = "chaos/check.rs"]
mod chaos;
#[path = "first-steps/check.rs"]
mod first_steps;
mod shell;
#[path = "stateful/check.rs"]
mod stateful;
mod tutorial;

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use support::{Home, TestCluster};

/// The profile of those who name none.
const PROFILE: &str = "kcl";

/// One cluster for all: each tutorial has a namespace of its own.
#[test]
fn tutorials() {
    let home = Home::new("workflows");
    programs(&home);
    let cluster = home.start(PROFILE, &["--nodes", "3", "--addons", "metrics-server,ingress,registry,monitoring"]);
    let all: [(&str, fn(&TestCluster<'_>)); 4] = [
        ("first-steps", first_steps::story),
        ("stateful", stateful::story),
        ("admin", admin::story),
        ("chaos", chaos::story),
    ];
    // For who works on one of them.
    let only = std::env::var("KCL_TEST_TUTORIAL").ok();
    for (name, story) in all {
        if only.as_ref().is_none_or(|only| only == name) {
            story(&cluster);
        }
    }
}

/// `kcl` and `kubectl` for a user's PATH.
fn programs(home: &Home) {
    let place = home.scratch().join("bin");
    std::fs::create_dir(&place).expect("a directory");
    symlink(env!("CARGO_BIN_EXE_kcl"), place.join("kcl")).expect("a link");
    symlink(artifact(home, "kubernetes").join("bin/kubectl"), place.join("kubectl")).expect("a link");
}

/// Where an artifact is in the cache.
fn artifact(home: &Home, name: &str) -> PathBuf {
    let list = home.kcl(["artifacts", "list", "-o", "json"]).json();
    let rows = list.as_array().expect("a list");
    let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name}: {list:#}"));
    row["path"].as_str().expect("a path").into()
}
