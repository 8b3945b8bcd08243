//! A developer: a Docker engine of his own, and what he builds there. And every way from there to the nodes.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::podman::Podman;
use crate::support::dockerd::Dockerd;
use crate::support::{TestCluster, own_network};
use crate::{archive, loaded};

/// The bytes of a mebibyte.
pub(crate) const MIB: u64 = 1 << 20;

/// A Docker engine, and a busybox.
pub(crate) struct Developer<'c> {
    cluster: &'c TestCluster<'c>,
    docker: Dockerd,
    base: PathBuf,
}

impl<'c> Developer<'c> {
    /// Starts the engine, which the commands of the cluster's home use from then on.
    pub(crate) fn new(cluster: &'c TestCluster<'c>) -> Self {
        let scratch = cluster.home.scratch().to_owned();
        let place = scratch.join("docker");
        fs::create_dir_all(&place).expect("a directory");
        // In a network namespace of its own, which ends with it. Its socket is a file.
        let docker = own_network(|| Dockerd::start(&place, &[]));
        cluster.home.set("DOCKER_HOST", docker.host());
        let base = scratch.join("base.tar");
        base_archive(cluster, &base);
        docker.docker(["import", base.to_str().expect("a path"), "base:1"]);
        Developer { cluster, docker, base }
    }

    /// The engine's command.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        self.docker.docker(arguments.iter().copied())
    }

    /// Builds an image of a large layer, the same for the same size, and a small one. It prints `says` and ends.
    pub(crate) fn build(&self, name: &str, says: &str, large: u64) {
        let context = self.cluster.home.scratch().join("build");
        fs::create_dir_all(&context).expect("a directory");
        let layer = context.join("large");
        if fs::metadata(&layer).map_or(0, |found| found.len()) != large {
            noise(&layer, large);
        }
        fs::write(context.join("small"), says).expect("a file");
        let file = "FROM base:1\nCOPY large /large\nCOPY small /small\nCMD [\"cat\", \"/small\"]\n";
        fs::write(context.join("Dockerfile"), file).expect("a file");
        // The engine's own builder: no plug-in is needed, and no network.
        self.docker(&["build", "--quiet", "--tag", name, context.to_str().expect("a path")]);
    }

    /// The archive of an image, as `docker save` writes it.
    pub(crate) fn archive(&self, name: &str) -> PathBuf {
        let path = self.cluster.home.scratch().join("docker.tar");
        self.docker(&["save", "--output", path.to_str().expect("a path"), name]);
        path
    }

    /// The archive of a root file system.
    pub(crate) fn root_file_system(&self) -> PathBuf {
        self.base.clone()
    }
}

/// Bytes that cannot be compressed, and are the same for the same size.
fn noise(path: &Path, size: u64) {
    let mut file = std::io::BufWriter::new(fs::File::create(path).expect("a file"));
    let mut state = size | 1;
    for _ in 0..size / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes()).expect("room");
    }
    file.flush().expect("room");
}

/// A busybox, and links to it.
fn base_archive(cluster: &TestCluster<'_>, to: &Path) {
    let list = cluster.kcl(["artifacts", "list", "-o", "json"]).json();
    let mut rows = list.as_array().expect("a list").iter();
    let rootfs = rows.find(|row| row["name"] == "node-rootfs").expect("the nodes' files");
    let program = Path::new(rootfs["path"].as_str().expect("a path")).join("rootfs/usr/bin/busybox");
    let mut archive = tar::Builder::new(fs::File::create(to).expect("a file"));
    archive.append_path_with_name(program, "bin/busybox").expect("busybox");
    for name in ["sh", "cat", "echo", "ls", "mkdir"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        archive.append_link(&mut header, format!("bin/{name}"), "busybox").expect("a link");
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o1777);
    archive.append_data(&mut header, "tmp/", std::io::empty()).expect("a directory");
    archive.finish().expect("an archive");
}

/// The image `app:1`, which the nodes have, once more from everywhere: nothing is sent.
pub(crate) fn all_ways(cluster: &TestCluster<'_>, developer: &Developer<'_>) {
    let nothing = |what: &str, loaded: &serde_json::Value| {
        for (node, sent) in loaded["nodes"].as_object().expect("nodes") {
            assert_eq!(sent["sent"], 0, "{what} on {node}: {loaded:#}");
        }
    };
    let archive = developer.archive("app:1");
    let path = archive.to_str().expect("a path");
    nothing("docker save", &loaded(cluster, &[path]));

    let input = cluster.command(["image", "load", "-", "-o", "json"]);
    let mut input = input;
    let mut child = input.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kcl");
    let mut pipe = child.stdin.take().expect("a pipe");
    std::io::copy(&mut fs::File::open(&archive).expect("the archive"), &mut pipe).expect("it reads");
    drop(pipe);
    let output = child.wait_with_output().expect("its end");
    let list: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    nothing("standard input", &list[0]);

    // What a node gives back is an OCI archive, unpacked it is a layout, and Docker takes it too.
    let saved = cluster.home.scratch().join("saved.tar");
    cluster.kcl(["image", "save", "app:1", "-o", saved.to_str().expect("a path")]).ok();
    nothing("an OCI archive", &loaded(cluster, &[saved.to_str().expect("a path")]));
    let layout = cluster.home.scratch().join("layout");
    tar::Archive::new(fs::File::open(&saved).expect("it is there")).unpack(&layout).expect("an archive");
    let named = loaded(cluster, &[layout.to_str().expect("a path"), "--name", "renamed:1"]);
    nothing("an OCI layout", &named);
    assert_eq!(named["repoTags"], serde_json::json!(["docker.io/library/renamed:1"]));
    cluster.kcl(["image", "rm", "renamed:1"]).ok();
    // As minikube names the archive.
    let other = cluster.home.scratch().join("other.tar");
    cluster.kcl(["image", "save", "app:1", other.to_str().expect("a path")]).ok();
    assert_eq!(fs::metadata(&other).expect("it was saved").len(), fs::metadata(&saved).expect("it is there").len());
    nameless(cluster);
    // Podman's service has Docker's API.
    let podman = Podman::start(&cluster.home.scratch().join("podman"), &archive);
    let load = cluster.command(["image", "load", "app:1", "-o", "json"]).env("DOCKER_HOST", podman.host()).output();
    let list = serde_json::from_slice::<serde_json::Value>(&load.expect("kcl").stdout).expect("JSON");
    for (node, sent) in list[0]["nodes"].as_object().expect("nodes") {
        // Podman writes archives in its own words; the layers are the same.
        assert!(sent["sent"].as_u64().is_some_and(|bytes| bytes < MIB / 10), "Podman, on {node}: {list:#}");
    }
    developer.docker(&["rmi", "app:1"]);
    developer.docker(&["load", "--input", saved.to_str().expect("a path")]);
    assert!(developer.docker(&["images", "--quiet", "app:1"]).len() > 4);
}

/// An image without a name is found by its id, as Docker has it.
fn nameless(cluster: &TestCluster<'_>) {
    let path = cluster.home.scratch().join("nameless.tar");
    archive::write(&path, &archive::Image { name: None, ..archive::Image::new("") });
    let image = loaded(cluster, &[path.to_str().expect("a path")]);
    let id = image["id"].as_str().expect("an id");
    assert_eq!(image["repoTags"], serde_json::json!([]));
    cluster.kcl(["image", "tag", id, "found:1"]).ok();
    cluster.kcl(["image", "rm", "found:1", id]).ok();
}
