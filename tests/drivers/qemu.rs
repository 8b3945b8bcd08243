//! Virtual machines of QEMU, emulated where the host has no KVM. Emulated Kubernetes is slow, so it is one node; that
//! machines reach each other is in the contract.

use crate::story;
use crate::support::Home;

#[test]
fn one_node() {
    let home = Home::new("qemu");
    let cluster = story::nodes(&home, "qemu", 1, &["--driver", "qemu", "--wait-timeout", "20m"]);
    cluster.kcl(["delete"]).ok();
}
