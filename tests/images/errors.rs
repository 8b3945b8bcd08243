//! Tests the errors for faulty images.

use std::fs;

use crate::archive;
use crate::sources::Developer;
use crate::support::TestCluster;

/// All of it. Nothing of what is wrong gets into the nodes.
pub(crate) fn all(cluster: &TestCluster<'_>, developer: &Developer<'_>) {
    let scratch = cluster.home.scratch();
    let refused = |arguments: &[&str], says: &[&str]| {
        let output = cluster.kcl(["image", "load"].iter().chain(arguments));
        let text = output.to_string();
        assert!(!output.succeeded() && says.iter().all(|word| text.contains(word)), "{arguments:?}: {text}");
    };
    let whole = developer.archive("app:1");
    let bytes = fs::read(&whole).expect("the archive");

    let cut = scratch.join("cut.tar");
    fs::write(&cut, &bytes[..bytes.len() / 2]).expect("a file");
    refused(&[cut.to_str().expect("a path")], &["cut.tar is cut off"]);

    let damaged = scratch.join("damaged.tar");
    archive::write(&damaged, &archive::Image { damaged: true, ..archive::Image::new("damaged:1") });
    refused(&[damaged.to_str().expect("a path")], &["is damaged", "another digest"]);

    let foreign = scratch.join("foreign.tar");
    archive::write(&foreign, &archive::Image { architecture: "s390x", ..archive::Image::new("foreign:1") });
    refused(&[foreign.to_str().expect("a path")], &["foreign:1", "linux/s390x", "the nodes are linux/"]);

    let rootfs = developer.root_file_system();
    refused(&[rootfs.to_str().expect("a path")], &["contains no image", "kcl image import"]);
    refused(&["./nothing.tar"], &["there is no file ./nothing.tar"]);
    refused(&["nothing:1"], &["no image nothing:1", "kcl image pull"]);
    refused(&["App:1"], &["is not a valid name of an image"]);
    refused(&["app:1", "--nodes", "nobody"], &["has no node \"nobody\""]);

    let output = cluster.command(["image", "load", "app:1"]).env("DOCKER_HOST", "unix:///nowhere.sock").output();
    let said = String::from_utf8_lossy(&output.expect("kcl").stderr).into_owned();
    assert!(said.contains("/nowhere.sock") && said.contains("kcl image load FILE"), "{said}");

    let missing = cluster.home.kcl(["-p", "nothere", "image", "ls"]);
    assert!(missing.to_string().contains("there is no cluster \"nothere\""), "{missing}");

    let names = crate::names(cluster).join(" ");
    assert!(["damaged", "foreign"].iter().all(|name| !names.contains(name)), "{names}");
}
