//! The data of etcd and of containerd are damaged: kcl says so, with what to do, and changes nothing of them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::support::{Home, eventually};

#[test]
fn damaged_data_of_etcd_and_of_containerd() {
    let home = Home::new("damaged-data");
    let cluster = home.start("torn", &[]);
    cluster.kubectl(["create", "configmap", "precious", "--from-literal=a=b"]);
    let volumes = home.path().join("clusters/torn/nodes/torn/volumes");
    let database = volumes.join("var-lib-etcd/member/snap/db");
    let metadata = volumes.join("var-lib-containerd/io.containerd.metadata.v1.bolt/meta.db");
    let is_kept = || cluster.field(&["configmap", "precious"], ".data.a") == "b";

    home.step("etcd's database");
    cluster.kcl(["stop"]).ok();
    let whole = fs::read(&database).expect("the database");
    damage(&database);
    let damaged = fs::read(&database).expect("the database");
    let output = cluster.start(&[]);
    let said = output.fails_with(76);
    assert!(said.contains("the data of etcd are damaged") && said.contains("kcl delete -p torn"), "{output}");
    assert!(!said.contains("--extra-config"), "no flag is wrong: {output}");
    assert!(fs::read(&database).is_ok_and(|now| now == damaged), "it is left as it is");
    fs::write(&database, whole).expect("the database");
    cluster.start(&[]).ok();
    assert!(is_kept());

    home.step("containerd's database");
    cluster.kcl(["stop"]).ok();
    let whole = fs::read(&metadata).expect("the database");
    damage(&metadata);
    let output = cluster.start(&[]);
    let said = output.fails_with(76);
    assert!(said.contains("the data of containerd are damaged") && said.contains("get all -A"), "{output}");
    // The API answers, and a second start is not content with what the node reported before it stopped.
    assert!(is_kept());
    cluster.start(&[]).fails_with(76);
    let status = eventually("it is seen", || {
        let status = cluster.kcl(["status"]);
        if status.stderr.contains("containerd ended") { Ok(status) } else { Err(status.to_string()) }
    });
    assert_eq!(status.code, Some(2), "{status}");
    fs::write(&metadata, whole).expect("the database");
    eventually("it recovers by itself", || {
        let status = cluster.kcl(["status"]);
        if status.succeeded() { Ok(()) } else { Err(status.to_string()) }
    });
    cluster.settled();
    assert_eq!(cluster.run_on("torn", "after", "echo it runs"), "it runs");
}

/// Overwrites both pages that a database of bbolt begins with.
fn damage(database: &Path) {
    OpenOptions::new().write(true).open(database).and_then(|mut file| file.write_all(&[0xa5; 8192])).expect("a file");
}
