//! One cluster on machines of several drivers: containers of runc and of Docker on one segment, and a host on another,
//! reached over SSH, whose pods are behind a tunnel.

use crate::bed::Bed;
use crate::hosts::Kind;
use crate::story;
use crate::support::dockerd::Dockerd;
use crate::support::{Home, own_network};

#[test]
fn nodes_of_three_drivers() {
    own_network(|| {
        let dir =
            tempfile::Builder::new().prefix("dockerd-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let daemon = Dockerd::start(dir.path(), &[]);
        {
            let home = Home::new("mixed");
            home.set("DOCKER_HOST", daemon.host());
            let Some(bed) = Bed::new(&home, &[Kind::Bare]) else { return };
            // It is dropped first, so that its clusters are deleted while their hosts exist.
            let home = home;
            let before = bed.runtime.block_on(bed.hosts().all_traces());
            let file = format!(
                "driver = \"native\"\n[[nodes]]\n[[nodes]]\ndriver = \"docker\"\n[[nodes]]\nhost = \"{}\"\n",
                bed.hosts().targets[0].host
            );
            let file = home.file("mixed.toml", &file).display().to_string();
            let cluster = story::three_nodes(&home, "mixed", &["--config", &file, "--accept-host-key"]);
            let drivers: Vec<_> = cluster.nodes().iter().map(|node| node["Driver"].clone()).collect();
            assert_eq!(drivers, ["native", "docker", "ssh"]);
            home.step("delete");
            cluster.kcl(["delete"]).ok();
            bed.runtime.block_on(bed.hosts().assert_as_before(&before));
        }
        assert_eq!(daemon.left(), [""; 0]);
    });
}
