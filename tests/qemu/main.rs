//! The story of `tests/drivers` on virtual machines of QEMU and of libvirt, emulated where the host has no KVM. Emulated Kubernetes is slow,
//! so it is one node; that machines reach each other is in the contract. It is a program of its own because `tests/run.sh`
//! runs it alone: emulation takes all cores that there are, and Kubernetes gives requests up that take seconds.

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
    nodes(&home, "qemu", "qemu", 1);
}

#[test]
#[ignore = "two emulated nodes take a quarter of an hour"]
fn two_nodes() {
    let home = Home::new("qemu-two");
    nodes(&home, "qemu-two", "qemu", 2);
}

/// The same machine, as a domain of a libvirt of the test's own.
#[cfg(feature = "libvirt")]
#[test]
#[ignore = "an emulated node more, which takes minutes; the contract has its machines"]
fn one_node_of_libvirt() {
    own_network(|| {
        let directory =
            tempfile::Builder::new().prefix("libvirtd-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let daemon = Libvirtd::start(directory.path());
        {
            let home = Home::new("libvirt");
            home.set("KCL_LIBVIRT_URI", daemon.uri());
            nodes(&home, "libvirt", "libvirt", 1);
        }
        assert_eq!(daemon.left(), [""; 0]);
    });
}

fn nodes(home: &Home, profile: &str, driver: &str, count: usize) {
    let file = home.file("cluster.toml", CLUSTER);
    let flags = ["--driver", driver, "--config", &file.to_string_lossy(), "--wait-timeout", "20m"];
    story::nodes(home, profile, count, &flags).kcl(["delete"]).ok();
}
