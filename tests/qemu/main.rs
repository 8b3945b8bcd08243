//! The story of `tests/drivers` on virtual machines of QEMU and libvirt, emulated if the host has no KVM. An emulated
//! control plane is slow, so one test has a single node, and one has emulated workers of a native control plane;
//! clusters of several emulated nodes are run by hand (`cargo test --features libvirt --test qemu -- --ignored`). The
//! test is a separate program because `tests/run.sh` runs it alone: emulation takes all cores, and Kubernetes aborts
//! requests that take seconds.

#[path = "../support/mod.rs"]
mod support;

// The other drivers' tests use the rest of the module.
#[allow(dead_code)]
#[path = "../drivers/story.rs"]
mod story;

use support::Home;
#[cfg(feature = "libvirt")]
use support::{libvirtd::Libvirtd, own_network};

/// The flags for no addons, as every emulated pod takes time and the story needs none of them.
const CLUSTER: &str = "[addons]\nstorage = { enabled = false }\nload-balancer = { enabled = false }\n";

#[test]
fn one_node() {
    let home = Home::new("qemu");
    nodes(&home, "qemu", "driver = \"qemu\"\n", 1);
}

#[test]
#[ignore = "emulated, it takes minutes for each node"]
fn three_nodes() {
    let home = Home::new("qemu-three");
    nodes(&home, "qemu-three", "driver = \"qemu\"\n", 3);
}

/// Adds machines of both hypervisors to the bridge of the native driver.
#[cfg(feature = "libvirt")]
#[test]
fn workers_of_a_native_control_plane() {
    with_libvirt("vm-workers", |home| {
        let machines =
            "driver = \"native\"\n[[nodes]]\n[[nodes]]\ndriver = \"qemu\"\n[[nodes]]\ndriver = \"libvirt\"\n";
        assert_eq!(nodes(home, "vm-workers", machines, 3), ["native", "qemu", "libvirt"]);
    });
}

#[cfg(feature = "libvirt")]
#[test]
#[ignore = "emulated, it takes minutes for each node"]
fn three_nodes_of_libvirt() {
    with_libvirt("libvirt", |home| drop(nodes(home, "libvirt", "driver = \"libvirt\"\n", 3)));
}

/// Returns a home with its own libvirt, which is empty at the end of the test.
#[cfg(feature = "libvirt")]
fn with_libvirt(story: &str, test: impl FnOnce(&Home) + Send) {
    own_network(|| {
        let directory =
            tempfile::Builder::new().prefix("libvirtd-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let daemon = Libvirtd::start(directory.path());
        {
            let home = Home::new(story);
            home.set("KCL_LIBVIRT_URI", daemon.uri());
            test(&home);
        }
        assert_eq!(daemon.left(), [""; 0]);
    });
}

/// Tells the story on a cluster of `machines`, lines of a cluster file. Returns the nodes' drivers.
fn nodes(home: &Home, profile: &str, machines: &str, count: usize) -> Vec<serde_json::Value> {
    let file = home.file("cluster.toml", &format!("{machines}{CLUSTER}"));
    let flags = ["--config", &file.to_string_lossy(), "--wait-timeout", "20m"];
    let cluster = story::nodes(home, profile, count, &flags);
    let drivers = cluster.nodes().iter().map(|node| node["Driver"].clone()).collect();
    cluster.kcl(["delete"]).ok();
    drivers
}
