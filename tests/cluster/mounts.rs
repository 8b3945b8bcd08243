//! Directories of this host in the nodes.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use crate::support::{Home, TestCluster, eventually};

/// The path of [`directory`]'s directory in the nodes.
pub(crate) const PLACE: &str = "/mnt/here";

/// A directory with a file.
pub(crate) fn directory(home: &Home, name: &str) -> PathBuf {
    let directory = home.scratch().join(name);
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(directory.join("file"), name).expect("a file");
    directory
}

/// The mounts of a start are in all nodes, read-only if requested.
pub(crate) fn are_there(cluster: &TestCluster<'_>) {
    for node in cluster.node_names() {
        let said = cluster.ssh(&node, &format!("cat {PLACE}/file; touch {PLACE}/more 2>/dev/null || echo ' kept'"));
        assert_eq!(said.ok(), "here kept", "{node}");
    }
}

/// They come and go while nodes and pods run, and programs that watch files see what changes.
pub(crate) fn come_and_go(cluster: &TestCluster<'_>) {
    let source = directory(cluster.home, "src");
    let mount = format!("{}:/srv/src", source.display());
    for said in ["remove it with: kcl mount", "is already mounted"] {
        let output = cluster.kcl(["mount", &mount]);
        output.ok();
        assert!(output.stderr.contains(said), "{output}");
    }
    let listed = cluster.kcl(["mount", "-o", "json"]).json();
    let listed: Vec<_> = listed.as_array().expect("a list").iter().map(|row| &row["node"]).collect();
    assert_eq!(listed, [PLACE, "/srv/src"]);

    cluster.apply(include_str!("manifests/reader.yaml"));
    cluster.wait_for("condition=Ready", &["pod", "reader"]);
    assert_eq!(cluster.exec("reader", "cat /src/file; echo back >/src/from-pod").ok(), "src");
    assert_eq!(fs::read_to_string(source.join("from-pod")).expect("the pod's file"), "back\n");

    let node = cluster.node_names().pop().expect("a node");
    let mut watch = cluster.command(["ssh", "-n", &node, "--", "perl", "-e", WATCH]);
    let watch = watch.stdout(Stdio::piped()).spawn().expect("kcl");
    eventually("the node watches", || {
        if source.join("watching").exists() { Ok(()) } else { Err("nothing yet".to_owned()) }
    });
    fs::write(source.join("changed"), "").expect("a file");
    let seen = watch.wait_with_output().expect("its end");
    assert_eq!(String::from_utf8_lossy(&seen.stdout), "seen\n");

    cluster.kcl(["mount", "--remove", "/srv/src"]).ok();
    for node in cluster.node_names() {
        assert_eq!(cluster.ssh(&node, "ls /srv/src").ok(), "", "{node}");
    }
    cluster.kcl(["mount", "--remove", "/srv/src"]).fails_with(85);
    let wrong = cluster.kcl(["mount", &format!("{}:/mnt", source.display())]);
    assert!(!wrong.succeeded() && wrong.stderr.contains("hides"), "{wrong}");
    cluster.kubectl(["delete", "pod", "reader", "--now"]);
    assert_eq!(fs::read_to_string(source.join("file")).expect("it is still there"), "src");
}

/// By inotify(7), until a file called `changed` is written: perl has no module for it in a node, but system calls.
const WATCH: &str = r#"my ($init, $add) = `uname -m` =~ /x86_64/ ? (294, 254) : (26, 27);
my ($fd, $place) = (syscall($init, 0), "/srv/src");
syscall($add, $fd, $place, 8) > 0 or die $!;
open(my $made, ">", "/srv/src/watching");
open(my $events, "<&=", $fd);
my $seen = "";
while (index($seen, "changed") < 0) { sysread($events, $seen, 4096) or die $! }
print "seen\n";"#;
