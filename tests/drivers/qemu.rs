//! Virtual machines of QEMU, emulated where the host has no KVM, so the cluster has fewer nodes than the others'.

use crate::story;
use crate::support::Home;

#[test]
fn two_nodes() {
    let home = Home::new("qemu");
    let cluster = story::nodes(&home, "qemu", 2, &["--driver", "qemu"]);
    cluster.kcl(["delete"]).ok();
}
