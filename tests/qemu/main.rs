//! The story of `tests/drivers` on virtual machines of QEMU, emulated where the host has no KVM. Emulated Kubernetes is slow,
//! so it is one node; that machines reach each other is in the contract. It is a program of its own because `tests/run.sh`
//! runs it alone: emulation takes all cores that there are, and Kubernetes gives requests up that take seconds.

#[path = "../support/mod.rs"]
mod support;

// The other drivers' tests use the rest of it.
#[allow(dead_code)]
#[path = "../drivers/story.rs"]
mod story;

use support::Home;

/// No addons: emulated, every pod takes its time, and the story asks for none of theirs.
const CLUSTER: &str =
    "driver = \"qemu\"\n[addons]\nstorage = { enabled = false }\nload-balancer = { enabled = false }\n";

#[test]
fn one_node() {
    nodes("qemu", 1);
}

#[test]
#[ignore = "two emulated nodes take a quarter of an hour"]
fn two_nodes() {
    nodes("qemu-two", 2);
}

fn nodes(profile: &str, count: usize) {
    let home = Home::new(profile);
    let file = home.file("cluster.toml", CLUSTER);
    let flags = ["--config", &file.to_string_lossy(), "--wait-timeout", "20m"];
    story::nodes(&home, profile, count, &flags).kcl(["delete"]).ok();
}
