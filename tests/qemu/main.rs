//! The story of `tests/drivers` on virtual machines of QEMU and of libvirt, emulated where the host has no KVM. An emulated
//! control plane is slow, so one test has a node that is all, and one has workers of a control plane that is not emulated;
//! clusters of several emulated nodes are run by hand (`cargo test --features libvirt --test qemu -- --ignored`). It is a
//! program of its own because `tests/run.sh` runs it alone: emulation takes all cores that there are, and Kubernetes gives
//! requests up that take seconds.

#[path = "../support/mod.rs"]
mod support;

// The other drivers' tests use the rest of it.
#[allow(dead_code)]
#[path = "../drivers/story.rs"]
mod story;

use support::Home;
#[cfg(feature = "libvirt")]
use support::{libvirtd::Libvirtd, own_network};

/// No addons: emulated, every pod takes its time, and the story asks for none of theirs.
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

/// Machines of both hypervisors join the bridge of the native driver.
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

/// A home whose libvirt is one of the test's own, which has nothing of the test in the end.
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

/// A cluster of `machines`, words of a cluster file: the story, to its end. Returns the nodes' drivers.
fn nodes(home: &Home, profile: &str, machines: &str, count: usize) -> Vec<serde_json::Value> {
    let file = home.file("cluster.toml", &format!("{machines}{CLUSTER}"));
    let flags = ["--config", &file.to_string_lossy(), "--wait-timeout", "20m"];
    let cluster = story::nodes(home, profile, count, &flags);
    let drivers = cluster.nodes().iter().map(|node| node["Driver"].clone()).collect();
    cluster.kcl(["delete"]).ok();
    drivers
}
