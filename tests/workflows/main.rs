//! The tutorials in this folder, run command by command on one cluster of three nodes. Needs root; `KCL_CACHE` may name
//! a cache that has the artifacts already.

#[path = "../support/mod.rs"]
mod support;

#[path = "admin/check.rs"]
mod admin;
#[path = "chaos/check.rs"]
mod chaos;
#[path = "dev-loop/check.rs"]
mod dev_loop;
#[path = "first-steps/check.rs"]
mod first_steps;
#[path = "helm/check.rs"]
mod helm;
mod shell;
#[path = "stateful/check.rs"]
mod stateful;
#[path = "todo/check.rs"]
mod todo;
mod tutorial;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Home, Output, TestCluster};
use tutorial::Tutorial;

/// The profile of those who name none.
const PROFILE: &str = "kcl";

/// A function that runs a tutorial on the cluster.
type Story = fn(&TestCluster<'_>);

/// One cluster for all: each tutorial has a namespace of its own. It is started as the README's first page tells, but for
/// the installation, which would compile kcl once more.
#[test]
fn tutorials() {
    let home = Home::new("workflows");
    programs(&home);
    let cluster = home.cluster(PROFILE);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Output::of(Command::new("make").args(["--dry-run", "install"]).current_dir(root)).ok();
    let mut page = Tutorial::of(&home, "README", &root.join("README.md"), home.scratch());
    page.skip("make install");
    page.section("From nothing to a running app");
    page.finish();
    Tutorial::of(&home, "tutorials", &root.join("tests/workflows/README.md"), home.scratch()).finish();
    cluster.kubectl(["delete", "service,deployment", "hello"]);
    let all: [(&str, Story); 6] = [
        ("first-steps", first_steps::story),
        ("stateful", stateful::story),
        ("admin", admin::story),
        ("chaos", chaos::story),
        // One that takes another's app is beside it, or after it.
        ("todo", |cluster| todo::story(cluster, dev_loop::story)),
        ("helm", helm::story),
    ];
    // For who works on one of them.
    let only = std::env::var("KCL_TEST_TUTORIAL").ok();
    let wanted = all.iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name));
    // One that fails does not keep the others from running.
    let failed = wanted.filter(|(_, story)| std::panic::catch_unwind(AssertUnwindSafe(|| story(&cluster))).is_err());
    let failed: Vec<_> = failed.map(|(name, _)| name).collect();
    assert!(failed.is_empty(), "these tutorials failed: {failed:?}");
}

/// `kcl` and `kubectl` for a user's PATH.
fn programs(home: &Home) {
    let place = home.scratch().join("bin");
    std::fs::create_dir(&place).expect("a directory");
    let kcl = place.join("kcl");
    // Without resolvers: tests send nothing outside.
    let script = "#!/bin/sh\n[ \"${1-}\" != start ] || set -- \"$@\" --nameservers none\nexec KCL \"$@\"\n";
    std::fs::write(&kcl, script.replace("KCL", env!("CARGO_BIN_EXE_kcl"))).expect("a script");
    std::fs::set_permissions(&kcl, std::fs::Permissions::from_mode(0o755)).expect("a script that runs");
    symlink(artifact(home, "kubernetes").join("bin/kubectl"), place.join("kubectl")).expect("a link");
}

/// Returns the path of an artifact in the cache.
fn artifact(home: &Home, name: &str) -> PathBuf {
    let list = home.kcl(["artifacts", "list", "-o", "json"]).json();
    let rows = list.as_array().expect("a list");
    let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name}: {list:#}"));
    row["path"].as_str().expect("a path").into()
}
