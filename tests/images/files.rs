//! Files between this host and nodes: what `docker cp` does with paths, and what nodes must not do.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use crate::support::TestCluster;

/// All of it.
pub(crate) fn all(cluster: &TestCluster<'_>) {
    both_ways(cluster);
    paths(cluster);
    what_changes_or_is_no_file(cluster);
    a_node_that_sends_more(cluster);
}

fn both_ways(cluster: &TestCluster<'_>) {
    let here = cluster.home.scratch().join("tree");
    fs::create_dir_all(here.join("deep")).expect("directories");
    fs::write(here.join("deep/file"), "text").expect("a file");
    fs::write(here.join("large"), vec![7; 5 << 20]).expect("a file");
    let node = cluster.node_names().remove(1);
    let tree = here.to_str().expect("a path");
    cluster.kcl(["cp", tree, &format!("{node}:/root")]).ok();
    assert_eq!(cluster.ssh(&node, "cat /root/tree/deep/file").ok(), "text");
    let back = cluster.home.scratch().join("back");
    cluster.kcl(["cp", &format!("{node}:/root/tree"), back.to_str().expect("a path")]).ok();
    assert_eq!(fs::read(back.join("large")).expect("it came back"), vec![7; 5 << 20]);
    cluster.kcl(["cp", &format!("{node}:/root/tree/deep/file"), ":/root/renamed"]).ok();
    assert_eq!(cluster.ssh(&cluster.node_names()[0], "cat /root/renamed").ok(), "text");
    let missing = cluster.kcl(["cp", &format!("{node}:/nothing"), "/tmp/nothing"]);
    assert!(!missing.succeeded() && missing.to_string().contains("/nothing"), "{missing}");
}

/// Dots, slashes, links, several sources, and streams.
fn paths(cluster: &TestCluster<'_>) {
    let scratch = cluster.home.scratch().join("paths");
    fs::create_dir_all(scratch.join("in/sub")).expect("directories");
    fs::write(scratch.join("in/sub/file"), "text").expect("a file");
    symlink("in", scratch.join("link")).expect("a link");
    let at = |name: &str| format!("{}/{name}", scratch.display());
    let node = cluster.node_names().remove(0);
    let there = |path: &str| {
        cluster.ssh(&node, &format!("cd /root/paths && find {path} | sort | tr '\\n' ' '")).ok().to_owned()
    };
    cluster.ssh(&node, "mkdir -p /root/paths/a /root/paths/b").ok();
    cluster.kcl(["cp", "-r", &at("in/."), ":/root/paths/a"]).ok();
    assert_eq!(there("a").trim(), "a a/sub a/sub/file");
    cluster.kcl(["cp", &at("in/"), ":/root/paths/new"]).ok();
    assert_eq!(there("new").trim(), "new new/sub new/sub/file");
    cluster.kcl(["cp", &at("link"), &at("link/"), ":/root/paths/b/"]).ok();
    assert_eq!(there("b").trim(), "b b/link b/link/sub b/link/sub/file");
    // A node's own link to a directory stays one.
    cluster.ssh(&node, "cd /root/paths && mkdir real && ln -s real sub").ok();
    cluster.kcl(["cp", &at("in/."), ":/root/paths"]).ok();
    assert_eq!(there("real sub").trim(), "real real/file sub");
    for (arguments, says) in [
        ([at("in"), ":/root/paths/real/file".to_owned()], "no directory"),
        ([at("in/sub/file"), ":/root/paths/none/".to_owned()], "there is no directory"),
        ([at("in/sub/file"), ":/dev/null".to_owned()], "neither a file nor a directory"),
        ([":/root/paths/a".to_owned(), at("in/sub/file")], "is a directory"),
        ([":/root/paths/a/sub/file/".to_owned(), at("x")], "cannot be copied"),
    ] {
        let refused = cluster.kcl(["cp", &arguments[0], &arguments[1]]);
        assert!(!refused.succeeded() && refused.to_string().contains(says), "{arguments:?}: {refused}");
    }
    cluster.kcl(["cp", ":/root/paths/a/.", &at("out")]).ok();
    cluster.kcl(["cp", ":/root/paths/a/sub/file", ":/etc/hostname", &at("out")]).ok();
    assert!(["sub/file", "file", "hostname"].iter().all(|name| scratch.join("out").join(name).is_file()));

    let mut out = cluster.command(["cp", ":/root/paths/a", "-"]);
    let archive = out.stdout(Stdio::piped()).output().expect("kcl").stdout;
    let mut names: Vec<String> = Vec::new();
    for entry in tar::Archive::new(&*archive).entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("a text");
        names.push(format!("{} {text}", entry.path().expect("a path").display()));
    }
    names.sort();
    assert_eq!(names.last().expect("entries"), "a/sub/file text");
    cluster.ssh(&node, "mkdir /root/paths/streamed").ok();
    let mut into = cluster.command(["cp", "-", ":/root/paths/streamed"]).stdin(Stdio::piped()).spawn().expect("kcl");
    // Compressed or not, as for docker.
    let mut gzip = flate2::write::GzEncoder::new(into.stdin.take().expect("a pipe"), flate2::Compression::fast());
    std::io::copy(&mut &*archive, &mut gzip).expect("it reads");
    drop(gzip.finish().expect("it reads"));
    assert!(into.wait().expect("its end").success());
    assert_eq!(there("streamed/a/sub/file").trim(), "streamed/a/sub/file");
}

/// A log that grows, and what is neither a file nor a directory.
fn what_changes_or_is_no_file(cluster: &TestCluster<'_>) {
    let node = cluster.node_names().remove(0);
    let script = "mkdir /root/live && cd /root/live && head -c 200000000 /dev/zero >grows && mkfifo pipe && \
        mknod device c 1 3 && ln -s /etc/passwd link && \
        (timeout 60 sh -c 'while :; do head -c 20000 /dev/zero >>grows; done' >/dev/null 2>&1 </dev/null &)";
    cluster.ssh(&node, script).ok();
    let to = cluster.home.scratch().join("live");
    let copied = cluster.kcl(["cp", ":/root/live", to.to_str().expect("a path")]);
    let text = copied.to_string();
    assert!(copied.succeeded() && text.contains("live/pipe") && text.contains("live/device"), "{text}");
    cluster.ssh(&node, "rm -rf /root/live").ok();
    assert!(fs::metadata(to.join("grows")).expect("it came").len() >= 200_000_000);
    assert!(to.join("link").is_symlink() && !to.join("pipe").exists());
}

/// A node whose tar sends more than was asked for, with rights that nobody gave.
fn a_node_that_sends_more(cluster: &TestCluster<'_>) {
    let node = cluster.node_names().remove(0);
    cluster
        .ssh(
            &node,
            "mkdir -p /root/evil && cd /root/evil && echo x >hostname && echo x >pwned && chmod 6755 hostname pwned",
        )
        .ok();
    let tar = "mv /usr/bin/tar /usr/bin/tar.real && printf '#!/bin/sh\\nexec tar.real -cf - -C /root/evil hostname $MORE\\n' \
        >/usr/bin/tar && chmod +x /usr/bin/tar";
    cluster.ssh(&node, tar).ok();
    let to = cluster.home.scratch().join("victim");
    fs::create_dir(&to).expect("a directory");
    let copy = || cluster.kcl(["cp", ":/etc/hostname", to.to_str().expect("a path")]);
    copy().ok();
    let mode = fs::metadata(to.join("hostname")).expect("it came").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    cluster.ssh(&node, "sed -i 's/.MORE/pwned/' /usr/bin/tar").ok();
    let refused = copy();
    assert!(!refused.succeeded() && refused.to_string().contains("pwned"), "{refused}");
    assert_eq!(fs::read_dir(&to).expect("it is there").count(), 1);
    cluster.ssh(&node, "mv /usr/bin/tar.real /usr/bin/tar").ok();
}
