//! Containers of the test's own Podman, newer than Debian 12's. Podman and kcl run in a network namespace of their own.

use std::path::PathBuf;

use crate::story;
use crate::support::podman::Podman;
use crate::support::{Home, eventually, own_network};

#[test]
fn two_nodes() {
    let Some(root) = std::env::var_os("KCL_TEST_PODMAN").map(PathBuf::from) else {
        eprintln!("skipped: KCL_TEST_PODMAN is not set");
        return;
    };
    own_network(|| {
        let dir =
            tempfile::Builder::new().prefix("podman-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let podman = Podman::start(&root, dir.path());
        let home = Home::new("podman");
        home.set("DOCKER_HOST", podman.host());
        story::nodes(&home, "podman", 2, &["--driver", "docker"]).kcl(["delete"]).ok();
        eventually("Podman's monitors of commands end", || {
            let left = home.traces().processes;
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        });
    });
}
